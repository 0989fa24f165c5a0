"""Where every token of K ragged prompts lies in memory, so that the text tower computes no padding.

The prompts are cut in two. The *prefix* is the longest beginning that all classes share (start token, context, tokens
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
        classes: K', how many.
        length: S', tokens of each suffix.
        mask: (1, 1, S', P + S'), True where attention may look.
        unprompted_mask: the same with prompt tokens out of sight, for the shift; (K', 1, S', P + S') where suffixes
            hold some.
    """

    classes: int
    length: int
    mask: Tensor
    unprompted_mask: Tensor

    def to(self, device: torch.device) -> "Group":
        """The same group on `device`."""
        return self._replace(mask=self.mask.to(device), unprompted_mask=self.unprompted_mask.to(device))


@dataclass(frozen=True)
class Layout:
    """N = P + T tokens: P of the prefix, then K suffixes of T tokens in all, in the order of `groups`. See `lay_out`.

    Attributes:
        ids: (N,) token ids; at a prompt token's place the id holds the place only.
        context: (N,) which learned context vector stands at each place, -1 where none does.
        position: (N,) position in the prompt.
        prompts: (n',) places where a learned context vector stands.
        class_of: (T,) class of each suffix token.
        end: (K,) place of each suffix's end token, as the suffixes lie.
        rank: (K,) of each class, where its suffix lies among them.
        unprompted: (K,) how many tokens of a class's prompt are not learned.
        prefix_mask, unprompted_prefix_mask: (1, 1, P, P) as `Group`'s.
        groups: the classes, by length.
        prefix: P.
        n_ctx: number of learned context vectors.
        class_specific: the context differs per class.
    """

    ids: Tensor
    context: Tensor
    position: Tensor
    prompts: Tensor
    class_of: Tensor
    end: Tensor
    rank: Tensor
    unprompted: Tensor
    prefix_mask: Tensor
    unprompted_prefix_mask: Tensor
    groups: tuple[Group, ...]
    prefix: int
    n_ctx: int
    class_specific: bool

    def to(self, device: torch.device) -> "Layout":
        """The same layout on `device`."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        moved = {name: tensor.to(device) for name, tensor in tensors.items()}
        return replace(self, **moved, groups=tuple(group.to(device) for group in self.groups))


def lay_out(prompts: ClassPrompts) -> Layout:
    """Where the tokens of `prompts` lie; at least the start token is prefix and at least the end token suffix."""
    cut = _common_prefix(prompts)
    lengths = [len(ids) - cut for ids in prompts.ids]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    pairs = [(0, s) for s in range(cut)] + [(k, cut + s) for k in order for s in range(lengths[k])]
    context = torch.tensor([prompts.context[k][s] for k, s in pairs])
    causal_prefix = torch.ones(cut, cut, dtype=torch.bool).tril()
    return Layout(
        ids=torch.tensor([prompts.ids[k][s] for k, s in pairs]),
        context=context,
        position=torch.tensor([s for _, s in pairs]),
        prompts=(context >= 0).nonzero().squeeze(1),
        class_of=torch.tensor([k for k, _ in pairs[cut:]]),
        end=torch.tensor(list(accumulate(lengths[k] for k in order))) + cut - 1,
        rank=torch.tensor(order).argsort(),
        unprompted=torch.tensor([sum(index < 0 for index in row) for row in prompts.context]),
        prefix_mask=causal_prefix[None, None],
        unprompted_prefix_mask=(causal_prefix & (context[:cut] < 0))[None, None],
        groups=tuple(_group(prompts, list(members), cut) for _, members in groupby(order, key=lengths.__getitem__)),
        prefix=cut,
        n_ctx=prompts.n_ctx,
        class_specific=prompts.class_specific,
    )


def _group(prompts: ClassPrompts, members: list[int], cut: int) -> Group:
    unprompted = torch.tensor([prompts.context[k] for k in members]) < 0  # (K', P + S')
    length = unprompted.shape[1] - cut
    causal = torch.ones(length, cut + length, dtype=torch.bool).tril(cut)
    if unprompted[:, cut:].all():  # only the prefix is learned: one mask serves all
        unprompted = unprompted[:1]
    return Group(len(members), length, causal[None, None], (causal & unprompted[:, None])[:, None])


def _common_prefix(prompts: ClassPrompts) -> int:
    """Number of leading places that are the same for all classes, the end token never among them."""
    cut = min(len(ids) for ids in prompts.ids) - 1
    first = list(zip(prompts.ids[0], prompts.context[0], strict=True))
    for ids, context in zip(prompts.ids, prompts.context, strict=True):
        same = 0
        while same < cut and first[same][1] == context[same] and (context[same] >= 0 or first[same][0] == ids[same]):
            same += 1
        cut = same
    if prompts.class_specific:
        cut = min([cut, *(context.index(0) for context in prompts.context if 0 in context)])
    return cut
