"""Zero-shot CLIP: the hand-written template of the data set, or an ensemble of templates (arXiv 2103.00020)."""

from promptclip.class_texts import TemplateTexts
from promptclip.learner import PromptLearner
from promptclip.prompts import PromptModule
from trainers.method import PREC, Method, Setup, register
from trainers.templates import tables


def with_templates(templates: list[str]) -> PromptLearner:
    """CLIP that learns nothing and describes its classes with `templates`."""
    return PromptLearner(PromptModule(), {}, class_texts=TemplateTexts(templates))


def build_single(setup: Setup) -> PromptLearner:
    """The data set's own template."""
    return with_templates([setup.dataset_template()])


def build_ensemble(setup: Setup) -> PromptLearner:
    """CoOp's ensemble: seven selected templates, and the data set's own unless that is ImageNet."""
    own = [] if setup.dataset == "ImageNet" else [setup.dataset_template()]
    return with_templates(tables()["select_7"] + own)


register(
    Method(
        name="ZeroshotCLIP",
        summary="CLIP with the data set's template (arXiv 2103.00020)",
        options={"PREC": PREC},
        build=build_single,
        node="ZEROSHOT",
    )
)
register(
    Method(
        name="ZeroshotCLIP2",
        summary="CLIP with an ensemble of templates (arXiv 2103.00020)",
        options={"PREC": PREC},
        build=build_ensemble,
        node="ZEROSHOT2",
    )
)
