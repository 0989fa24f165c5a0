"""CoCoOp: a context conditioned on each image (arXiv 2203.05557)."""

from promptclip.conditioned import ConditionedContext
from promptclip.learner import CROSS_ENTROPY, PromptLearner
from trainers import coop
from trainers.method import Method, Setup, register


def build(setup: Setup) -> PromptLearner:
    """Context and meta-net, trained with cross-entropy; one text pass per image, the image tower is unprompted."""
    prompts = ConditionedContext.of(coop.context(setup), setup.clip.model.text_projection.shape[1])
    return PromptLearner(prompts, CROSS_ENTROPY)


register(
    Method(
        name="CoCoOp",
        summary="a context conditioned on each image (arXiv 2203.05557)",
        options=coop.CONTEXT,
        build=build,
        check=coop.check,
        node="COCOOP",
        learns=("ctx", "meta_net"),
    )
)
