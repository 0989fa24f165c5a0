"""CLIP-Adapter: a bottleneck on the image feature, mixed with it (arXiv 2110.04544).

The reference trains with whatever CoOp configuration is given to it, in single precision, and writes the mix, 0.2, and
the width of its features as literals. Its paper also has an adapter of text features, which the code lacks.
"""

from promptclip.adapters import ImageAdapter
from promptclip.class_texts import TemplateTexts
from promptclip.learner import CROSS_ENTROPY, PromptLearner
from promptclip.prompts import PromptModule
from trainers.method import PREC, VIEWS, Method, Option, Setup, register

OPTIONS = {
    "RATIO": Option(0.2, "share of the adapter's output in the mix", low=0, high=1, decides_test=True),
    "REDUCTION": Option(4, "width of the features over the width inside", low=1),
    "VIEWS": VIEWS,
    "PREC": PREC,
}


def build(setup: Setup) -> PromptLearner:
    """An adapter of image features, trained with cross-entropy against the template's text features."""
    width = setup.clip.model.text_projection.shape[1]
    return PromptLearner(
        PromptModule(),
        CROSS_ENTROPY,
        corrections=ImageAdapter(width, width // setup.options.REDUCTION, float(setup.options.RATIO)),
        class_texts=TemplateTexts([setup.dataset_template()], normalised=False),
        views=setup.options.VIEWS,
    )


register(
    Method(
        name="CLIP_Adapter",
        summary="a bottleneck on the image feature, mixed with it (CLIP-Adapter, arXiv 2110.04544)",
        options=OPTIONS,
        build=build,
        node="CLIP_ADAPTER",
        folder="clip_adapter",
        learns=("adapter",),
    )
)
