"""What a method learns, in the shape the towers take it, and the modules that several methods share."""

from typing import NamedTuple

import torch
from clip.model import CLIP
from torch import Tensor, nn

from promptclip.tokens import encode


class Prompts(NamedTuple):
    """Prompt tokens per tower: entry l is (n, width) and enters block l, or None; shorter lists end in None.

    Entry 0 is the shallow context; a later entry replaces the output of the prompt tokens of the block before.
    The text tower's entry 0 may also be (K, n, width), one context per class, or (B, n, width), one per image.
    """

    text: list[Tensor | None] = []
    vision: list[Tensor | None] = []


def random_prompt(*shape: int) -> nn.Parameter:
    """Prompt drawn from N(0, 0.02^2), the initialisation of the whole family."""
    return nn.Parameter(torch.empty(*shape).normal_(std=0.02))


def context_from_words(model: CLIP, words: str, n_ctx: int) -> nn.Parameter:
    """(n_ctx, width) context that starts as the embeddings of the first `n_ctx` tokens of `words`."""
    ids = torch.tensor(encode(words.replace("_", " "))[1 : 1 + n_ctx])
    return nn.Parameter(model.token_embedding.weight[ids].detach().clone())


def initial_context(model: CLIP, words: str, n_ctx: int) -> tuple[nn.Parameter, str]:
    """The deep-prompt methods' rule: the words' embeddings if `n_ctx` <= 4 of them are asked for, else random.

    Returns the context (n_ctx, width) and the words that stand in the prompt ("" for place holders).

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


def is_vit(model: CLIP) -> bool:
    """Whether the vision tower is a transformer."""
    return hasattr(model.visual, "transformer")


def blocks(model: CLIP) -> tuple[int, int]:
    """Number of transformer blocks (text, vision); 0 for a ResNet."""
    vision = len(model.visual.transformer.resblocks) if is_vit(model) else 0
    return len(model.transformer.resblocks), vision
