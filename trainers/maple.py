"""MaPLe: deep prompts of the text tower, projected into the vision tower (arXiv 2210.03117)."""

from copy import deepcopy

from clip.model import CLIP
from dassl.engine import TRAINER_REGISTRY
from torch import nn
from yacs.config import CfgNode

from promptclip.prompts import Prompts, blocks, initial_context, random_prompt, text_width, vision_width
from trainers.independent import check_range
from trainers.prompt_trainer import PromptTrainer


class CoupledPrompts(nn.Module):
    """Text prompts and the linear coupling F_l that makes vision prompts of them (Eq. 8: P_l~ = F_l(P_l)).

    Args:
        model: the CLIP to prompt.
        n_ctx: tokens of a prompt, the same in both towers.
        depth: blocks with prompts of their own (J).
        words: what the context starts from.

    The couplings of the deep layers start as copies of one draw, as in the reference.
    """

    def __init__(self, model: CLIP, n_ctx: int, depth: int, words: str) -> None:
        super().__init__()
        width = text_width(model)
        self.ctx, self.words = initial_context(model, words, n_ctx)
        self.proj = nn.Linear(width, vision_width(model))
        self.compound_prompts_text = nn.ParameterList(random_prompt(n_ctx, width) for _ in range(depth - 1))
        coupling = nn.Linear(width, vision_width(model))
        self.compound_prompt_projections = nn.ModuleList(deepcopy(coupling) for _ in range(depth - 1))

    def forward(self) -> Prompts:
        couplings = [self.proj, *self.compound_prompt_projections]
        text = [self.ctx, *self.compound_prompts_text]
        return Prompts(text=text, vision=[f(p) for f, p in zip(couplings, text, strict=True)])


@TRAINER_REGISTRY.register()
class MaPLe(PromptTrainer):
    """Cross-entropy over coupled prompts; `N_CTX` tokens in `PROMPT_DEPTH` blocks of either tower.

    With N_CTX 2 and CTX_INIT "a photo of a", the words "of a" stay in the prompt behind the two learned tokens,
    as in the reference.
    """

    node = "MAPLE"
    learns = ("ctx", "proj", "compound_prompts_text", "compound_prompt_projections")
    model_name = "MultiModalPromptLearner"
    needs_vit = True
    defaults = {"N_CTX": 2, "CTX_INIT": "a photo of a", "PREC": "fp16", "PROMPT_DEPTH": 9}

    def check_options(self, options: CfgNode) -> None:
        """At least one token and one block, at most the towers' depth."""
        check_range("N_CTX", options.N_CTX, 1, self.backbone.context_length - 3)
        check_range("PROMPT_DEPTH", options.PROMPT_DEPTH, 1, min(blocks(self.backbone)))

    def build_learner(self) -> nn.Module:
        """Coupled prompts, and the class names behind their context."""
        options = self.options
        learner = CoupledPrompts(self.backbone, options.N_CTX, options.PROMPT_DEPTH, options.CTX_INIT)
        self.classes = self.context_classes(options.N_CTX, learner.words)
        return learner
