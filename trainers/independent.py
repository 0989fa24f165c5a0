"""LPT, VPT and IVLP: deep prompts in the text tower, the vision tower, or both, learned independently.

As MaPLe's paper has them for its baselines (arXiv 2210.03117, Sec. 4); VPT is arXiv 2203.12119.
"""

from clip.model import CLIP

from promptclip.learner import CROSS_ENTROPY, PromptLearner, weighted
from promptclip.prompts import IndependentPrompts, blocks
from promptclip.shift import SUMMED_SHIFT, ShiftScale, shift_loss
from trainers import feature_shift
from trainers.method import PREC, Method, Option, Options, Setup, register, within_backbone

SPARE = "0 tokens or 0 blocks leave the tower unprompted"


def tower_options(tower: str, n_ctx: int, depth: int) -> dict[str, Option]:
    """Length and depth of the prompts of one tower, "TEXT" or "VISION"."""
    return {
        f"N_CTX_{tower}": Option(n_ctx, f"tokens of a prompt in the {tower.lower()} tower; {SPARE}", low=0, high=1000),
        f"PROMPT_DEPTH_{tower}": Option(
            depth, f"blocks of the {tower.lower()} tower with prompts of their own; {SPARE}", low=0
        ),
    }


COMMON = {
    "CTX_INIT": Option("a photo of a", "words of the text prompt, which its context starts from", decides_test=True),
    "PREC": PREC,
}
TEXT = ("ctx", "text_deep")
VISION = ("vision_ctx", "vision_deep")


def size_of(options: Options, tower: str) -> tuple[int, int]:
    """(tokens, depth) of a tower, (0, 0) where either is 0 or the method has no such option."""
    tokens, depth = options.get(f"N_CTX_{tower}", 0), options.get(f"PROMPT_DEPTH_{tower}", 0)
    return (tokens, depth) if tokens and depth else (0, 0)


def check(options: Options, backbone: CLIP) -> None:
    """Depths within the towers, and at least one tower with prompts."""
    for tower, most in zip(("TEXT", "VISION"), blocks(backbone), strict=True):
        within_backbone(f"PROMPT_DEPTH_{tower}", options.get(f"PROMPT_DEPTH_{tower}", 0), 0, most)
    if size_of(options, "TEXT") == size_of(options, "VISION") == (0, 0):
        raise ValueError("No tower has prompts: set a length (N_CTX_*) and a depth (PROMPT_DEPTH_*) above 0.")


def prompts(setup: Setup) -> IndependentPrompts:
    """Prompts of either tower; class names behind the context, or in plain words where the text tower has none."""
    text, vision = (size_of(setup.options, tower) for tower in ("TEXT", "VISION"))
    return IndependentPrompts(setup.clip.model, text, vision, setup.options.CTX_INIT)


def build(setup: Setup) -> PromptLearner:
    """Independent prompts, trained with cross-entropy."""
    return PromptLearner(prompts(setup), CROSS_ENTROPY)


def build_ivlp(setup: Setup) -> PromptLearner:
    """Independent prompts in both towers; with FS_WEIGHT above 0 the paper's "IVLP + L^fs"."""
    if not setup.options.FS_WEIGHT:
        return build(setup)
    return PromptLearner(
        prompts(setup),
        CROSS_ENTROPY | weighted("fs", setup.options.FS_WEIGHT, shift_loss),
        shift_scale=ShiftScale.of(setup.clip.model, setup.options.SHIFT_NORM),
        shows=SUMMED_SHIFT,
    )


register(
    Method(
        name="LPT",
        summary="language prompt tuning: deep prompts in the text tower alone",
        options=tower_options("TEXT", 4, 12) | COMMON,
        build=build,
        check=check,
        node="LPT",
        folder="VLPromptLearner",
        learns=TEXT,
    )
)
register(
    # The reference runs in float32 whatever PREC says; here PREC holds as in every method.
    Method(
        name="VPT",
        summary="visual prompt tuning: deep prompts in the vision tower alone (arXiv 2203.12119)",
        options=tower_options("VISION", 8, 12) | COMMON,
        build=build,
        check=check,
        node="VPT",
        learns=VISION,
        needs_vit=True,
    )
)
register(
    Method(
        name="IVLP",
        summary="independent vision-language prompting: deep prompts in both towers",
        options=tower_options("VISION", 2, 12)
        | tower_options("TEXT", 2, 12)
        | COMMON
        | {
            "FS_WEIGHT": Option(0.0, feature_shift.FS_WEIGHT.help, low=0),
            "SHIFT_NORM": Option(
                "rms",
                feature_shift.SHIFT_NORM.help,
                choices=feature_shift.SHIFT_NORM.choices,
                ignored=lambda options: "" if options.FS_WEIGHT else "without L^fs (FS_WEIGHT 0) no shift is measured",
            ),
        },
        build=build_ivlp,
        check=check,
        node="IVLP",
        folder="VLPromptLearner",
        learns=TEXT + VISION,
        needs_vit=True,
        unused=("shift_scale",),
    )
)
