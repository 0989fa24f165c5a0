"""CLIP-LoRA: low-rank deltas of queries, keys and values in every block (arXiv 2405.18541).

The reference scales them by alpha / sqrt(r), where its paper has alpha / r (SCALING), and writes 100 for CLIP's logit
scale. Dropout draws a mask of its own for each projection.
"""

from clip.model import CLIP

from promptclip.learner import CROSS_ENTROPY, CosineHead, PromptLearner
from promptclip.low_rank import LowRankDeltas
from promptclip.prompts import blocks, text_width, vision_width
from promptclip.trained_prompts import TrainedPrompts
from trainers.method import LOGIT_SCALE, PREC, Method, Option, Options, Setup, register

OPTIONS = {
    "RANK": Option(2, "rank of a delta", low=1),
    "ALPHA": Option(1.0, "of the scale", above=0, decides_test=True),
    "SCALING": Option(
        "sqrt",
        "sqrt: alpha / sqrt(rank), as the reference; linear: alpha / rank",
        ("sqrt", "linear"),
        decides_test=True,
    ),
    "DROPOUT": Option(0.25, "of what enters a delta in training", low=0, high=0.99),
    "PARAMS": Option("qkv", "which projections have deltas", ("q", "k", "v", "qk", "qv", "kv", "qkv")),
    "ENCODER": Option("both", "which towers", ("both", "text", "vision")),
    "TEMPLATE": Option("a photo of a {}.", "of the class texts, the same for every data set", decides_test=True),
    "LOGIT_SCALE": LOGIT_SCALE,
    "PREC": PREC,
}


def check(options: Options, backbone: CLIP) -> None:
    """A template with a place for the class name."""
    if "{}" not in options.TEMPLATE:
        raise ValueError(f"TEMPLATE {options.TEMPLATE!r} has no {{}} where the class name goes.")


def build(setup: Setup) -> PromptLearner:
    """Deltas of both towers, trained with cross-entropy; class names stand in plain words."""
    options, model = setup.options, setup.clip.model
    text, vision = blocks(model)
    scale = options.ALPHA / (options.RANK**0.5 if options.SCALING == "sqrt" else options.RANK)
    deltas = LowRankDeltas(
        [text if options.ENCODER != "vision" else 0, text_width(model)],
        [vision if options.ENCODER != "text" else 0, vision_width(model)],
        options.RANK,
        scale,
        float(options.DROPOUT),
        options.PARAMS,
    )
    return PromptLearner(
        TrainedPrompts(template=options.TEMPLATE), CROSS_ENTROPY, changes=deltas, head=CosineHead(setup.logit_scale())
    )


register(
    Method(
        name="CLIP_LoRA",
        summary="low-rank deltas of queries, keys and values in both towers (arXiv 2405.18541)",
        options=OPTIONS,
        build=build,
        check=check,
        node="CLIP_LORA",
        learns=("text_lora", "visual_lora"),
        needs_vit=True,
        graph=False,
    )
)
