"""MaPLe: deep prompts of the text tower, projected into the vision tower (arXiv 2210.03117)."""

from clip.model import CLIP

from promptclip.learner import CROSS_ENTROPY, PromptLearner
from promptclip.prompts import CoupledPrompts, blocks
from trainers.method import PREC, Method, Option, Options, Setup, register, within_backbone

OPTIONS = {
    "N_CTX": Option(2, "tokens of a prompt, the same in both towers", low=1),
    "CTX_INIT": Option(
        "a photo of a", "words the context starts from; those beyond N_CTX stay in the prompt", decides_test=True
    ),
    "PREC": PREC,
    "PROMPT_DEPTH": Option(9, "blocks of either tower with prompts of their own", low=1),
}
LEARNS = ("ctx", "proj", "compound_prompts_text", "compound_prompt_projections")


def check(options: Options, backbone: CLIP) -> None:
    """Prompts that fit into the towers."""
    within_backbone("N_CTX", options.N_CTX, 1, backbone.context_length - 3)
    within_backbone("PROMPT_DEPTH", options.PROMPT_DEPTH, 1, min(blocks(backbone)))


def prompts(setup: Setup) -> CoupledPrompts:
    """Coupled prompts in the first PROMPT_DEPTH blocks of both towers."""
    options = setup.options
    return CoupledPrompts(setup.clip.model, options.N_CTX, options.PROMPT_DEPTH, options.CTX_INIT)


def build(setup: Setup) -> PromptLearner:
    """Coupled prompts, trained with cross-entropy."""
    return PromptLearner(prompts(setup), CROSS_ENTROPY)


register(
    Method(
        name="MaPLe",
        summary="deep text prompts, projected into the vision tower (arXiv 2210.03117)",
        options=OPTIONS,
        build=build,
        check=check,
        node="MAPLE",
        folder="MultiModalPromptLearner",
        learns=LEARNS,
        needs_vit=True,
    )
)
