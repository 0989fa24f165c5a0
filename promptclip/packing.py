"""Where every token of K ragged prompts lies in memory, so that the text tower computes no padding.

The prompts are cut in two. The *prefix* is the longest beginning that all classes share (start token, context, words
of the template): it is computed once. The *suffixes* (class name to end token) lie one behind the other, the shorter
before the longer; attention takes those of one length together. Causal attention makes the cut exact: no prefix token
sees a suffix token.
"""

from dataclasses import dataclass, fields, replace
from itertools import accumulate, groupby
from typing import NamedTuple

import torch
from torch import Tensor

from promptclip.tokens import ClassPrompts


class Group(NamedTuple):
    """The classes whose suffixes have one length.

    Attributes:
        classes, length: K' suffixes of S' tokens.
        mask: (1, 1, S', P + S'), True where attention may look.
        bare_mask: the same with learned tokens out of sight, for the shift; (K', 1, S', P + S') where suffixes hold
            some.
    """

    classes: int
    length: int
    mask: Tensor
    bare_mask: Tensor

    def to(self, device: torch.device) -> "Group":
        """The same group on `device`."""
        return self._replace(mask=self.mask.to(device), bare_mask=self.bare_mask.to(device))


@dataclass(frozen=True)
class Layout:
    """N = P + T tokens: P of the prefix, then K suffixes of T tokens in all, in the order of `groups`. Made by `pack`.

    Attributes:
        ids, slot, position: (N,) token ids; number of the learned context vector at each place, or -1; position in
            the prompt.
        learned: (n',) places where slot >= 0.
        row: (T,) class of each suffix token.
        end: (K,) place of each suffix's end token, as the suffixes lie.
        rank: (K,) of each class, where its suffix lies among them.
        entries: (K,) number of a prompt's tokens that are words, not learned.
        prefix_mask, bare_prefix_mask: (1, 1, P, P) as `Group`'s.
        groups: the classes, by length.
        prefix: P.
        n_ctx: number of learned context vectors.
        specific: the context differs per class.
    """

    ids: Tensor
    slot: Tensor
    position: Tensor
    learned: Tensor
    row: Tensor
    end: Tensor
    rank: Tensor
    entries: Tensor
    prefix_mask: Tensor
    bare_prefix_mask: Tensor
    groups: tuple[Group, ...]
    prefix: int
    n_ctx: int
    specific: bool

    def to(self, device: torch.device) -> "Layout":
        """The same layout on `device`."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        moved = {name: tensor.to(device) for name, tensor in tensors.items()}
        return replace(self, **moved, groups=tuple(group.to(device) for group in self.groups))

    def parts(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Packed (G, N, ...) to prefix (G, P, ...) and each group's suffixes (G * K', S', ...)."""
        prefix, *suffixes = x.split([self.prefix, *(group.classes * group.length for group in self.groups)], dim=1)
        shapes = [(group.classes, group.length) for group in self.groups]
        return prefix, [x.unflatten(1, shape).flatten(0, 1) for x, shape in zip(suffixes, shapes, strict=True)]

    def packed(self, prefix: Tensor, suffixes: list[Tensor]) -> Tensor:
        """The inverse of `parts`."""
        pairs = zip(suffixes, self.groups, strict=True)
        return torch.cat([prefix, *(x.unflatten(0, (-1, group.classes)).flatten(1, 2) for x, group in pairs)], dim=1)


def pack(prompts: ClassPrompts) -> Layout:
    """Lay out `prompts`; at least the start token is prefix and at least the end token suffix."""
    cut = _common(prompts)
    lengths = [len(ids) - cut for ids in prompts.ids]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    pairs = [(0, s) for s in range(cut)] + [(k, cut + s) for k in order for s in range(lengths[k])]
    slot = torch.tensor([prompts.slots[k][s] for k, s in pairs])
    causal_prefix = torch.ones(cut, cut, dtype=torch.bool).tril()
    return Layout(
        ids=torch.tensor([prompts.ids[k][s] for k, s in pairs]),
        slot=slot,
        position=torch.tensor([s for _, s in pairs]),
        learned=(slot >= 0).nonzero().squeeze(1),
        row=torch.tensor([k for k, _ in pairs[cut:]]),
        end=torch.tensor(list(accumulate(lengths[k] for k in order))) + cut - 1,
        rank=torch.tensor(order).argsort(),
        entries=torch.tensor([sum(slot < 0 for slot in slots) for slots in prompts.slots]),
        prefix_mask=causal_prefix[None, None],
        bare_prefix_mask=(causal_prefix & (slot[:cut] < 0))[None, None],
        groups=tuple(_group(prompts, list(members), cut) for _, members in groupby(order, key=lengths.__getitem__)),
        prefix=cut,
        n_ctx=prompts.n_ctx,
        specific=prompts.class_specific,
    )


def _group(prompts: ClassPrompts, members: list[int], cut: int) -> Group:
    words = torch.tensor([prompts.slots[k] for k in members]) < 0  # (K', P + S')
    length = words.shape[1] - cut
    causal = torch.ones(length, cut + length, dtype=torch.bool).tril(cut)
    words = words[:1] if words[:, cut:].all() else words  # one mask serves all where only the prefix is learned
    return Group(len(members), length, causal[None, None], (causal & words[:, None])[:, None])


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
