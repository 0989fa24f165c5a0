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
    """P prefix tokens and K suffixes, T suffix tokens in all and at most S in one. Made once by `pack`.

    Attributes:
        prefix_ids, prefix_slot: (P,) token ids; number of the learned context vector at each place, or -1.
        prefix_learned: (n',) places of the prefix where slot >= 0.
        ids, slot, position, row: (T,) the same of the suffixes; position in the prompt; which class.
        learned: (n'',) places of the suffixes where slot >= 0.
        cell: (T,) index of each suffix token in the flattened (K, S) grid.
        grid: (K * S,) index of the token that fills each cell; cells after an end token repeat it, unseen.
        end: (K,) index of each class's end token.
        entries: (K,) number of a prompt's tokens that are words, not learned.
        prefix_mask, suffix_mask, end_mask: (P, P), (1, 1, S, P + S), (K, 1, 1, P + S), True where attention may look.
        bare_prefix_mask, bare_suffix_mask: the same with learned tokens out of sight, for the shift.
        shape: (P, K, S).
        n_ctx: number of learned context vectors.
        ragged: whether the grid has cells after an end token.
        specific: the context differs per class.
    """

    prefix_ids: Tensor
    prefix_slot: Tensor
    prefix_learned: Tensor
    ids: Tensor
    slot: Tensor
    position: Tensor
    row: Tensor
    learned: Tensor
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

    def to_grid(self, x: Tensor) -> Tensor:
        """Packed (G, T, ...) to (G, K, S, ...)."""
        x = x.index_select(1, self.grid) if self.ragged else x
        return x.unflatten(1, self.shape[1:])

    def to_packed(self, x: Tensor) -> Tensor:
        """(G, K, S, ...) to packed (G, T, ...)."""
        x = x.flatten(1, 2)
        return x.index_select(1, self.cell) if self.ragged else x


def pack(prompts: ClassPrompts) -> Layout:
    """Lay out `prompts`; at least the start token is prefix and at least the end token suffix."""
    cut = _common(prompts)
    lengths = [len(ids) - cut for ids in prompts.ids]
    classes, width = len(lengths), max(lengths)
    starts = list(accumulate(lengths, initial=0))
    pairs = [(k, s) for k in range(classes) for s in range(lengths[k])]
    prefix_slot = torch.tensor(prompts.slots[0][:cut])
    slot = torch.tensor([prompts.slots[k][cut + s] for k, s in pairs])
    grid = torch.tensor([starts[k] + min(s, lengths[k] - 1) for k in range(classes) for s in range(width)])

    causal_prefix = torch.ones(cut, cut, dtype=torch.bool).tril()
    causal = torch.cat([torch.ones(width, cut, dtype=torch.bool), torch.ones(width, width, dtype=torch.bool).tril()], 1)
    words = torch.cat([(prefix_slot < 0).expand(classes, -1), (slot < 0)[grid].view(classes, width)], dim=1)
    words = words if (slot >= 0).any() else words[:1]  # one mask serves all where only the prefix is learned
    return Layout(
        prefix_ids=torch.tensor(prompts.ids[0][:cut]),
        prefix_slot=prefix_slot,
        prefix_learned=(prefix_slot >= 0).nonzero().squeeze(1),
        ids=torch.tensor([prompts.ids[k][cut + s] for k, s in pairs]),
        slot=slot,
        position=torch.tensor([cut + s for _, s in pairs]),
        row=torch.tensor([k for k, _ in pairs]),
        learned=(slot >= 0).nonzero().squeeze(1),
        cell=torch.tensor([k * width + s for k, s in pairs]),
        grid=grid,
        end=torch.tensor([end - 1 for end in starts[1:]]),
        entries=torch.tensor([sum(slot < 0 for slot in slots) for slots in prompts.slots]),
        prefix_mask=causal_prefix,
        suffix_mask=causal[None, None],
        end_mask=(torch.arange(cut + width) < cut + torch.tensor(lengths)[:, None])[:, None, None],
        bare_prefix_mask=causal_prefix & (prefix_slot < 0),
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
