"""What a method changes inside the blocks of a tower: adapters beside them, deltas of weights, norms of its own, tokens
that are put in. Prompts, which stand at the ends of the sequences, are in `promptclip.prompts`."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from promptclip.parts import Part


class ProjectionDelta(Protocol):
    """What is added to the queries, keys and values of one block (CLIP-LoRA, arXiv 2405.18541)."""

    def __call__(self, x: Tensor, parts: str) -> Tensor:
        """(..., W) normalised tokens -> (..., len(parts) * W), the deltas of `parts` side by side: "q", "kv", "qkv"."""


class BlockChange(NamedTuple):
    """What is changed in one block: its input h is (..., W), its output h' + mlp(ln_2 h') with h' = h + attn(ln_1 h).

    Attributes:
        tokens: (n, W), put behind the sequence's first token where none stand there yet (class token, start token), in
            place of those that the block before has made of them where they do; without positional embedding. The text
            tower's end tokens move with them (MMRL, arXiv 2503.08497).
        class_tokens: text tower alone, (K, n, W): replace positions 1..n of each class's own sequence
            (TCP, arXiv 2311.18231). From this block on, classes no longer share these positions.
        adapter: (..., W) -> (..., W), of ln_1 h; added to the block's output (MMA, CVPR 2024).
        delta: added to queries, keys and values.
        random: `delta` draws dropout, so that from this block on no two classes share anything.
        ln_1, ln_2: stand in for the block's own LayerNorms (2SFS, arXiv 2503.11609).
    """

    tokens: Tensor | None = None
    class_tokens: Tensor | None = None
    adapter: Callable[[Tensor], Tensor] | None = None
    delta: ProjectionDelta | None = None
    random: bool = False
    ln_1: Callable[[Tensor], Tensor] | None = None
    ln_2: Callable[[Tensor], Tensor] | None = None


UNCHANGED = BlockChange()


def block_by_block(changes: Sequence[BlockChange | None], blocks: int, tower: str) -> list[BlockChange]:
    """`changes` of all `blocks` blocks of a tower, "text" or "vision"; None becomes UNCHANGED.

    Raises:
        ValueError: there are more changes than blocks, or changes that exclude each other.
    """
    if any(one and one.tokens is not None for one in changes) and any(
        one and (one.class_tokens is not None or one.random) for one in changes
    ):
        raise ValueError("Tokens cannot be put in where class_tokens or dropout make a class's first tokens its own.")
    if len(changes) > blocks:
        raise ValueError(f"There are changes for {len(changes)} blocks, but the {tower} tower has {blocks}.")
    return [*(change or UNCHANGED for change in changes), *[UNCHANGED] * (blocks - len(changes))]


def after_first(x: Tensor, tokens: Tensor, replaced: int) -> Tensor:
    """x (G, N, W) with `tokens` (n, W) behind its first token, over the `replaced` ones that stand there."""
    tokens = tokens.to(x.dtype).expand(x.shape[0], -1, -1)
    return torch.cat([x[:, :1], tokens, x[:, 1 + replaced :]], dim=1)


class Changes(Part):
    """Base of the modules that change blocks: nothing is changed, in either tower."""

    def vision(self) -> Sequence[BlockChange | None]:
        """Changes of the vision tower, block by block; a shorter list ends in None."""
        return ()

    def text(self, known: Tensor | None) -> Sequence[BlockChange | None]:
        """Changes of the text tower, block by block; `known`: what `knowledge_texts` asks for, (K, D)."""
        return ()

    def knowledge_texts(self, names: list[str]) -> list[str] | None:
        """One text per class name whose plain CLIP feature `text` needs; None: it needs none."""
        return None
