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
    """N = P + T tokens: P of the prefix, then K suffixes of T tokens in all and at most S in one. Made by `pack`.

    Attributes:
        ids, slot, position: (N,) token ids; number of the learned context vector at each place, or -1; position in
            the prompt.
        learned: (n',) places where slot >= 0.
        row: (T,) class of each suffix token.
        cell: (T,) index of each suffix token in the flattened (K, S) grid.
        grid: (K * S,) suffix token that fills each cell; cells after an end token repeat it, unseen.
        end: (K,) place of each class's end token.
        entries: (K,) number of a prompt's tokens that are words, not learned.
        prefix_mask, suffix_mask, end_mask: (1, 1, P, P), (1, 1, S, P + S), (K, 1, 1, P + S), True where attention may
            look.
        bare_prefix_mask, bare_suffix_mask: the same with learned tokens out of sight, for the shift.
        shape: (P, K, S).
        n_ctx: number of learned context vectors.
        ragged: whether the grid has cells after an end token.
        specific: the context differs per class.
    """

    ids: Tensor
    slot: Tensor
    position: Tensor
    learned: Tensor
    row: Tensor
    cell: Tensor
    grid: Tensor
    end: Tensor
    entries: Tensor
    prefix_mask: Tensor
    suffix_mask: Tensor
    end_mask: Tensor
    bare_prefix_mask: Tensor
    bare_suffix_mask: Tensor
    shape: tuple[int, int, int]
    n_ctx: int
    ragged: bool
    specific: bool

    def to(self, device: torch.device) -> "Layout":
        """The same layout on `device`."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Packed (G, N, ...) to prefix (G, P, ...) and grid of suffixes (G * K, S, ...)."""
        prefix, suffix = x.split([self.shape[0], x.shape[1] - self.shape[0]], dim=1)
        suffix = suffix.index_select(1, self.grid) if self.ragged else suffix
        return prefix, suffix.unflatten(1, self.shape[1:]).flatten(0, 1)

    def packed(self, prefix: Tensor, grid: Tensor) -> Tensor:
        """The inverse of `parts`."""
        grid = grid.unflatten(0, (-1, self.shape[1])).flatten(1, 2)
        return torch.cat([prefix, grid.index_select(1, self.cell) if self.ragged else grid], dim=1)


def pack(prompts: ClassPrompts) -> Layout:
    """Lay out `prompts`; at least the start token is prefix and at least the end token suffix."""
    cut = _common(prompts)
    lengths = [len(ids) - cut for ids in prompts.ids]
    classes, width = len(lengths), max(lengths)
    starts = list(accumulate(lengths, initial=0))
    pairs = [(0, s) for s in range(cut)] + [(k, cut + s) for k in range(classes) for s in range(lengths[k])]
    slot = torch.tensor([prompts.slots[k][s] for k, s in pairs])
    grid = torch.tensor([starts[k] + min(s, lengths[k] - 1) for k in range(classes) for s in range(width)])

    causal_prefix = torch.ones(cut, cut, dtype=torch.bool).tril()
    causal = torch.cat([torch.ones(width, cut, dtype=torch.bool), torch.ones(width, width, dtype=torch.bool).tril()], 1)
    prefix_words, suffix_words = (slot < 0).split([cut, len(slot) - cut])
    words = torch.cat([prefix_words.expand(classes, -1), suffix_words[grid].view(classes, width)], dim=1)
    words = words[:1] if suffix_words.all() else words  # one mask serves all where only the prefix is learned
    return Layout(
        ids=torch.tensor([prompts.ids[k][s] for k, s in pairs]),
        slot=slot,
        position=torch.tensor([s for _, s in pairs]),
        learned=(slot >= 0).nonzero().squeeze(1),
        row=torch.tensor([k for k, _ in pairs[cut:]]),
        cell=torch.tensor([k * width + s - cut for k, s in pairs[cut:]]),
        grid=grid,
        end=torch.tensor([cut + end - 1 for end in starts[1:]]),
        entries=torch.tensor([sum(slot < 0 for slot in slots) for slots in prompts.slots]),
        prefix_mask=causal_prefix[None, None],
        suffix_mask=causal[None, None],
        end_mask=(torch.arange(cut + width) < cut + torch.tensor(lengths)[:, None])[:, None, None],
        bare_prefix_mask=(causal_prefix & prefix_words)[None, None],
        bare_suffix_mask=(causal & words[:, None])[:, None],
        shape=(cut, classes, width),
        n_ctx=prompts.n_ctx,
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
