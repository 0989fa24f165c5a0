"""MMA: adapters beside the upper blocks of both towers, coupled by a layer that both share (CVPR 2024)."""

from clip.model import CLIP

from promptclip.adapters import MultiModalAdapters
from promptclip.learner import CROSS_ENTROPY, PromptLearner
from promptclip.prompts import blocks, text_width, vision_width
from promptclip.trained_prompts import TrainedPrompts
from trainers.method import PREC, Method, Option, Options, Setup, register, within_backbone

OPTIONS = {
    "TEXT_CTX_INIT": Option("a photo of a", "words before the class name", decides_test=True),
    "PREC": PREC,
    "ADAPTER_START": Option(5, "first block with adapters, from 1", low=1, decides_test=True),
    "ADAPTER_END": Option(12, "last block with adapters", low=1, decides_test=True),
    "ADAPTER_DIM": Option(32, "width inside an adapter", low=1),
    "ADAPTER_SCALE": Option(0.001, "of what an adapter adds to its block's output", low=0, decides_test=True),
    "RESCALED_GRADIENT": Option(
        True, "adapters learn as if their scale were 1, as in the reference; False: the true gradient"
    ),
}


def check(options: Options, backbone: CLIP) -> None:
    """Adapters within both towers."""
    within_backbone("ADAPTER_END", options.ADAPTER_END, options.ADAPTER_START, min(blocks(backbone)))


def build(setup: Setup) -> PromptLearner:
    """Adapters of both towers, trained with cross-entropy; class names stand in plain words."""
    options, model = setup.options, setup.clip.model
    adapters = MultiModalAdapters(
        text_width(model),
        vision_width(model),
        options.ADAPTER_START,
        options.ADAPTER_END,
        options.ADAPTER_DIM,
        float(options.ADAPTER_SCALE),
        options.RESCALED_GRADIENT,
    )
    return PromptLearner(
        TrainedPrompts(template=f"{options.TEXT_CTX_INIT} {{}}.".strip()), CROSS_ENTROPY, changes=adapters
    )


register(
    Method(
        name="MMA",
        summary="adapters beside the upper blocks of both towers (MMA, CVPR 2024)",
        options=OPTIONS,
        build=build,
        check=check,
        node="MMADAPTER",
        folder="adapter_learner",
        learns=("text_adapter", "visual_adapter", "shared_adapter"),
        needs_vit=True,
        unused=("token_embedding", "tokenized_prompts"),
    )
)
