"""What enters the towers: prompts per block, and the modules that learn them.

A module of prompts answers three questions: which tokens enter the vision tower (`vision`), which enter the text tower
(`text`), and how class names stand among them (`class_prompts`). Methods share the ones in this file.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import NamedTuple

import torch
from clip.model import CLIP
from torch import Tensor, nn

from promptclip.class_prompts import ClassPrompts, encode
from promptclip.parts import Part

SPREAD = 0.02  # standard deviation of randomly started prompts, in all methods of the field


class Prompts(NamedTuple):
    """Prompt tokens per tower: entry l is (n, width) and enters block l, or None; shorter lists end in None.

    Entry 0 is the shallow context; a later entry replaces the output of the prompt tokens of the block before.
    The text tower's entry 0 may also be (K, n, width), one context per class, or (B, n, width), one per image.
    """

    text: Sequence[Tensor | None] = ()
    vision: Sequence[Tensor | None] = ()


# ---- the backbone's sizes ----------------------------------------------------------------------------------------


def is_vit(model: CLIP) -> bool:
    """Whether the vision tower is a transformer."""
    return hasattr(model.visual, "transformer")


def text_width(model: CLIP) -> int:
    """Width of the text tower."""
    return model.ln_final.weight.shape[0]


def vision_width(model: CLIP) -> int:
    """Width of the vision tower.

    Raises:
        ValueError: the backbone is a ResNet, which has no tokens to prompt.
    """
    if not is_vit(model):
        raise ValueError("Vision prompts need a ViT backbone (ViT-B/16, ViT-B/32, ViT-L/14); this one is a ResNet.")
    return model.visual.class_embedding.shape[0]


def blocks(model: CLIP) -> tuple[int, int]:
    """Number of transformer blocks (text, vision); 0 for a ResNet."""
    vision = len(model.visual.transformer.resblocks) if is_vit(model) else 0
    return len(model.transformer.resblocks), vision


# ---- how prompts start -------------------------------------------------------------------------------------------


def random_prompt(*shape: int) -> nn.Parameter:
    """Prompt of that shape drawn from N(0, 0.02^2)."""
    return nn.Parameter(torch.empty(*shape).normal_(std=SPREAD))


def context_from_words(model: CLIP, words: str, n_ctx: int) -> nn.Parameter:
    """(n_ctx, width) context that starts as the embeddings of the first `n_ctx` tokens of `words`."""
    ids = torch.tensor(encode(words.replace("_", " "))[1 : 1 + n_ctx])
    return nn.Parameter(model.token_embedding.weight[ids].detach().clone())


def initial_context(model: CLIP, words: str, n_ctx: int) -> tuple[nn.Parameter, str]:
    """The deep-prompt methods' rule: the words' embeddings if `n_ctx` <= 4 of them are asked for, else random.

    Returns:
        The context (n_ctx, width), and the words that stand in the prompt ("" for place holders).

    Raises:
        ValueError: `n_ctx` is not positive, or the words have fewer tokens than `n_ctx`.
    """
    if n_ctx < 1:
        raise ValueError(f"n_ctx is {n_ctx}; a learned text context has at least 1 token.")
    if not words or n_ctx > 4:
        return random_prompt(n_ctx, text_width(model)), ""
    if len(encode(words)) - 2 < n_ctx:
        raise ValueError(f"CTX_INIT {words!r} has fewer tokens than n_ctx = {n_ctx}; lower n_ctx or lengthen it.")
    return context_from_words(model, words, n_ctx), words


# ---- modules -----------------------------------------------------------------------------------------------------


class PromptModule(Part, kind="no_prompts"):
    """Base of the modules of prompts: no prompts at all, in either tower.

    Attributes:
        per_image: the text prompts depend on the image, so that the text tower runs once per image.
    """

    per_image = False

    def vision(self) -> Sequence[Tensor | None]:
        """Prompts of the vision tower, block by block, each (n, width)."""
        return ()

    def text(self, image: Tensor | None = None) -> Sequence[Tensor | None]:
        """Prompts of the text tower, block by block; `image` (B, D) are the image features where they depend on it."""
        return ()

    def class_prompts(self, names: list[str], context_length: int) -> ClassPrompts:
        """How `names` stand among the learned tokens, in a text tower of `context_length` positions."""
        return ClassPrompts.from_texts(names, context_length)


def as_trained(prompts: PromptModule, words: str = "", position: str = "end", template: str = "") -> PromptModule:
    """The tokens that `prompts`, which do not depend on the image, give now; the rest as `TrainedPrompts` takes it."""
    from promptclip.trained_prompts import TrainedPrompts  # which needs what this file defines

    return TrainedPrompts.of(prompts, words, position, template)


class Context(PromptModule):
    """A shallow text context `ctx` (CoOp, arXiv 2109.01134, Eq. 2).

    Args:
        ctx: (n, width), or (K, n, width): one per class, which belongs to its class list.
        words: what the context starts from, "" for place holders.
        position: where the class name stands: "end", "middle" or "front".
    """

    def __init__(self, ctx: nn.Parameter, words: str = "", position: str = "end") -> None:
        super().__init__()
        self.ctx, self.words, self.position = ctx, words, position

    def text(self, image: Tensor | None = None) -> list[Tensor]:
        return [self.ctx]

    def trained(self) -> PromptModule:
        return as_trained(self, self.words, self.position)

    def class_prompts(self, names: list[str], context_length: int) -> ClassPrompts:
        n_ctx, specific = self.ctx.shape[-2], self.ctx.dim() == 3
        return ClassPrompts.with_context(names, n_ctx, self.words, self.position, specific, context_length)


class IndependentPrompts(PromptModule):
    """A context of n tokens and depth - 1 deep prompts for either tower; a tower of depth 0 has none.

    Text prompts as CoOp's, made deep as MaPLe's baselines do (arXiv 2210.03117, Sec. 4); vision prompts as in Visual
    Prompt Tuning (arXiv 2203.12119), the "deep" variant, appended behind the patch tokens.

    Args:
        model: the CLIP to prompt.
        text, vision: (tokens, depth) of either tower.
        words: what the text context starts from (random where empty or longer than 4 tokens).
    """

    def __init__(self, model: CLIP, text: tuple[int, int], vision: tuple[int, int], words: str) -> None:
        super().__init__()
        self.ctx, self.words = None, words
        if text[1]:
            self.ctx, self.words = initial_context(model, words, text[0])
            self.text_deep = nn.ParameterList(random_prompt(*self.ctx.shape) for _ in range(text[1] - 1))
        self.vision_ctx = None
        if vision[1]:
            self.vision_ctx = random_prompt(vision[0], vision_width(model))
            self.vision_deep = nn.ParameterList(random_prompt(*self.vision_ctx.shape) for _ in range(vision[1] - 1))

    def vision(self) -> list[Tensor]:
        return [] if self.vision_ctx is None else [self.vision_ctx, *self.vision_deep]

    def text(self, image: Tensor | None = None) -> list[Tensor]:
        return [] if self.ctx is None else [self.ctx, *self.text_deep]

    @property
    def template(self) -> str:
        """What stands for a class where the text tower has no prompts."""
        return f"{self.words.replace('_', ' ')} {{}}.".strip()

    def trained(self) -> PromptModule:
        return as_trained(self, self.words, template=self.template if self.ctx is None else "")

    def class_prompts(self, names: list[str], context_length: int) -> ClassPrompts:
        if self.ctx is None:
            texts = [self.template.replace("{}", name.replace("_", " ")) for name in names]
            return ClassPrompts.from_texts(texts, context_length)
        return ClassPrompts.with_context(names, len(self.ctx), self.words, context_length=context_length)


class CoupledPrompts(PromptModule):
    """Text prompts and the linear coupling F_l that makes vision prompts of them (MaPLe, arXiv 2210.03117, Eq. 8).

    The couplings of the deep blocks start as copies of one draw, as in the reference.

    Args:
        model: the CLIP to prompt.
        n_ctx: tokens of a prompt, the same in both towers.
        depth: J, blocks with prompts of their own.
        words: what the context starts from. With 2 tokens and "a photo of a", "of a" stays behind them.
    """

    def __init__(self, model: CLIP, n_ctx: int, depth: int, words: str) -> None:
        super().__init__()
        width = text_width(model)
        self.ctx, self.words = initial_context(model, words, n_ctx)
        self.proj = nn.Linear(width, vision_width(model))
        self.compound_prompts_text = nn.ParameterList(random_prompt(n_ctx, width) for _ in range(depth - 1))
        coupling = nn.Linear(width, vision_width(model))
        self.compound_prompt_projections = nn.ModuleList(deepcopy(coupling) for _ in range(depth - 1))

    def vision(self) -> list[Tensor]:
        couplings = [self.proj, *self.compound_prompt_projections]
        return [f(p) for f, p in zip(couplings, self.text(), strict=True)]

    def text(self, image: Tensor | None = None) -> list[Tensor]:
        return [self.ctx, *self.compound_prompts_text]

    def trained(self) -> PromptModule:
        return as_trained(self, self.words)

    def class_prompts(self, names: list[str], context_length: int) -> ClassPrompts:
        return ClassPrompts.with_context(names, len(self.ctx), self.words, context_length=context_length)
