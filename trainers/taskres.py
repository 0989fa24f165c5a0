"""TaskRes: a residual a class, added to its text feature (arXiv 2211.10277).

The reference leaves underscores in class names, unlike all other methods (UNDERSCORES), which changes the tokens of
names that have some. For ImageNet its base are the raw features' mean over eight templates. A class that was not
trained on has no residual and keeps its base feature. The "enhanced base" (a released text projection) is not here.
"""

from promptclip.adapters import TextResiduals
from promptclip.class_texts import TemplateTexts
from promptclip.learner import CROSS_ENTROPY, PromptLearner
from promptclip.prompts import PromptModule
from trainers.method import PREC, VIEWS, Method, Option, Setup, register
from trainers.templates import tables

OPTIONS = {
    "RESIDUAL_SCALE": Option(0.5, "of the residual", above=0, decides_test=True),
    "FLOWERS_SCALE": Option(1.0, "in its place on Flowers, as in the reference", above=0, decides_test=True),
    "UNDERSCORES": Option(True, "'_' in class names stays, as in the reference; False: a space", decides_test=True),
    "VIEWS": VIEWS,
    "PREC": PREC,
}


def build(setup: Setup) -> PromptLearner:
    """Residuals of the text features, trained with cross-entropy."""
    own = setup.dataset_template()
    templates = [*tables()["select_7"], own] if setup.dataset == "ImageNet" else [own]
    width = setup.clip.model.text_projection.shape[1]
    scale = setup.options.FLOWERS_SCALE if setup.dataset == "OxfordFlowers" else setup.options.RESIDUAL_SCALE
    return PromptLearner(
        PromptModule(),
        CROSS_ENTROPY,
        corrections=TextResiduals(len(setup.classnames), width, float(scale)),
        class_texts=TemplateTexts(templates, normalised=False, underscores=setup.options.UNDERSCORES),
        trained_on=setup.classnames,
        views=setup.options.VIEWS,
    )


register(
    Method(
        name="TaskRes",
        summary="a residual a class, added to its text feature (arXiv 2211.10277)",
        options=OPTIONS,
        build=build,
        node="TASKRES",
        learns=("text_feature_residuals",),
        unused=("base_text_features",),
    )
)
