"""Where every token of K ragged prompts lies in memory, so that the text tower computes no padding.

The prompts are cut in two. The *prefix* is the longest beginning that all classes share (start token, context, words
of the template): it is computed once. The *suffixes* (class name to end token) lie one behind the other; attention
alone sees them as a (K, S) grid. Causal attention makes the cut exact: no prefix token sees a suffix token.
"""

from dataclasses import dataclass, fields, replace
from itertools import accumulate

import torch
from torch import Tensor

from promptclip.tokens import ClassPrompts


@dataclass(frozen=True)
class Layout:
    """P prefix tokens, K suffixes of T tokens in all, at most S in one; `row` and `cell` place them in a (K, S) grid.

    Attributes:
        prefix_ids, prefix_slot: (P,) token ids; learned context vector at each place or -1.
        ids, slot, position, row: (T,) the same of the suffixes, position in the prompt, and which class.
        cell: (T,) index of each suffix token in the flattened grid.
        grid: (K * S,) index of the token that fills each cell; cells after an end token repeat a token, unseen.
        end: (K,) index of each class's end token.
        length: (K,) suffix lengths.
        entries: (K,) tokens of a prompt that are words, not learned context.
        ragged: whether any cell of the grid is empty.
        specific: the context differs per class.
    """

    prefix_ids: Tensor
    prefix_slot: Tensor
    ids: Tensor
    slot: Tensor
    position: Tensor
    row: Tensor
    cell: Tensor
    grid: Tensor
    end: Tensor
    length: Tensor
    entries: Tensor
    ragged: bool
    specific: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(P, K, S)."""
        return len(self.prefix_ids), len(self.length), len(self.grid) // len(self.length)

    def to(self, device: torch.device) -> "Layout":
        """The same layout on `device`."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})

    def to_grid(self, x: Tensor) -> Tensor:
        """Packed (G, T, ...) to (G, K, S, ...)."""
        _, classes, width = self.shape
        x = x.index_select(1, self.grid) if self.ragged else x
        return x.unflatten(1, (classes, width))

    def to_packed(self, x: Tensor) -> Tensor:
        """(G, K, S, ...) to packed (G, T, ...)."""
        x = x.flatten(1, 2)
        return x.index_select(1, self.cell) if self.ragged else x

    def prefix_mask(self, without_prompts: bool = False) -> Tensor:
        """(P, P) True where a prefix token attends: causal, learned tokens left out on request."""
        size = len(self.prefix_ids)
        mask = torch.ones(size, size, dtype=torch.bool, device=self.prefix_ids.device).tril()
        return mask & (self.prefix_slot < 0) if without_prompts else mask

    def suffix_mask(self, without_prompts: bool = False) -> Tensor:
        """(1 or K, 1, S, P + S) True where a suffix token attends: the whole prefix, its own suffix causally."""
        prefix, classes, width = self.shape
        device = self.ids.device
        causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
        mask = torch.cat([torch.ones(width, prefix, dtype=torch.bool, device=device), causal], dim=1)[None]
        if without_prompts:
            own = (self.slot < 0)[self.grid].view(classes, width)
            seen = torch.cat([(self.prefix_slot < 0).expand(classes, -1), own], dim=1)[:, None]
            mask = mask & (seen if (self.slot >= 0).any() else seen[:1])
        return mask[:, None]

    def end_mask(self) -> Tensor:
        """(K, 1, 1, P + S) True where the end token attends."""
        prefix, _, width = self.shape
        cells = torch.arange(prefix + width, device=self.ids.device)
        return (cells < prefix + self.length[:, None])[:, None, None]


def pack(prompts: ClassPrompts) -> Layout:
    """Lay out `prompts`; at least the start token is prefix and at least the end token suffix."""
    cut = _common(prompts)
    rows = range(len(prompts))
    lengths = [len(ids) - cut for ids in prompts.ids]
    width = max(lengths)
    starts = list(accumulate(lengths, initial=0))
    grid = [starts[k] + min(s, lengths[k] - 1) for k in rows for s in range(width)]
    pairs = [(k, s) for k in rows for s in range(lengths[k])]
    return Layout(
        prefix_ids=torch.tensor(prompts.ids[0][:cut]),
        prefix_slot=torch.tensor(prompts.slots[0][:cut]),
        ids=torch.tensor([prompts.ids[k][cut + s] for k, s in pairs]),
        slot=torch.tensor([prompts.slots[k][cut + s] for k, s in pairs]),
        position=torch.tensor([cut + s for _, s in pairs]),
        row=torch.tensor([k for k, _ in pairs]),
        cell=torch.tensor([k * width + s for k, s in pairs]),
        grid=torch.tensor(grid),
        end=torch.tensor([starts[k] + lengths[k] - 1 for k in rows]),
        length=torch.tensor(lengths),
        entries=torch.tensor([sum(slot < 0 for slot in slots) for slots in prompts.slots]),
        ragged=min(lengths) < width,
        specific=prompts.class_specific,
    )


def _common(prompts: ClassPrompts) -> int:
    """Number of leading places that are the same for all classes, the end token never among them."""
    cut = min(len(ids) for ids in prompts.ids) - 1
    first = list(zip(prompts.ids[0], prompts.slots[0], strict=True))
    for ids, slots in zip(prompts.ids, prompts.slots, strict=True):
        same = 0
        while same < cut and first[same][1] == slots[same] and (slots[same] >= 0 or first[same][0] == ids[same]):
            same += 1
        cut = same
    if prompts.class_specific:
        cut = min([cut, *(slots.index(0) for slots in prompts.slots if 0 in slots)])
    return cut
