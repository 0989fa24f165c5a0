"""Layouts of class prompts whose sequences were changed between two blocks: tokens put in, a shared beginning given up.

Which tokens lie where follows from the layout before alone, so that each is made once, where that was made (on the
CPU), and then moved to its device.
"""

from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from promptclip.class_prompts import Group, Layout, in_rows


@lru_cache(maxsize=8)
def with_tokens_after_first(layout: Layout, n: int) -> Layout:
    """The layout when `n` tokens stand behind each sequence's first one, in the prefix."""
    return _with_tokens(layout.made_of, n).to(layout.ids.device)


@lru_cache(maxsize=8)
def _with_tokens(layout: Layout, n: int) -> Layout:
    device, prefix = layout.ids.device, layout.prefix + n
    masks = [_causal(group.length, prefix, device) for group in layout.groups]
    new = torch.arange(1, n + 1, device=device)
    made = replace(
        layout,
        ids=_put(layout.ids, torch.zeros_like(new)),
        context=_put(layout.context, torch.full_like(new, -1)),
        position=_put(torch.where(layout.position > 0, layout.position + n, layout.position), new),
        prompts=torch.where(layout.prompts > 0, layout.prompts + n, layout.prompts),
        end=layout.end + n,
        unprompted=layout.unprompted + n,
        prefix_mask=_causal(prefix, 0, device),
        unprompted_prefix_mask=_causal(prefix, 0, device),
        groups=tuple(Group(g.classes, g.length, m, m) for g, m in zip(layout.groups, masks, strict=True)),
        prefix=prefix,
        start=layout.start + n if layout.start > 0 else layout.start,
    )
    return made if layout.rows is None else in_rows(made)


class Unshared(NamedTuple):
    """`layout` shares only its first tokens; `source` (N',) is where each of its tokens lay before."""

    layout: Layout
    source: Tensor


@lru_cache(maxsize=8)
def unshared(layout: Layout, keep: int) -> Unshared:
    """The layout when classes share no more than their first `keep` tokens."""
    made, source = _unshared(layout.made_of, keep)
    return Unshared(made.to(layout.ids.device), source.to(layout.ids.device))


@lru_cache(maxsize=8)
def _unshared(layout: Layout, keep: int) -> Unshared:
    device, more = layout.ids.device, layout.prefix - keep
    lengths = [group.length for group in layout.groups for _ in range(group.classes)]
    starts = [0, *accumulate(lengths)]
    own = torch.arange(keep, layout.prefix)
    places = [torch.arange(keep)]
    for start, length in zip(starts, lengths, strict=False):
        places += [own, torch.arange(layout.prefix + start, layout.prefix + start + length)]
    source = torch.cat(places).to(device)
    context = layout.context[source]
    ends = torch.tensor(list(accumulate(length + more for length in lengths)), device=device) + keep - 1
    order = layout.rank.argsort()
    class_of = order.repeat_interleave(torch.tensor([length + more for length in lengths], device=device))
    masks = [_causal(group.length + more, keep, device) for group in layout.groups]
    made = replace(
        layout,
        ids=layout.ids[source],
        context=context,
        position=layout.position[source],
        prompts=(context >= 0).nonzero().squeeze(1),
        class_of=class_of,
        end=ends,
        prefix_mask=_causal(keep, 0, device),
        unprompted_prefix_mask=_causal(keep, 0, device),
        groups=tuple(Group(g.classes, g.length + more, m, m) for g, m in zip(layout.groups, masks, strict=True)),
        prefix=keep,
        start=-1,
    )
    return Unshared(made if layout.rows is None else in_rows(made), source)


@lru_cache(maxsize=8)
def places_after_first(layout: Layout, n: int) -> Tensor:
    """(K * n,) where the tokens at positions 1..n of each class's own sequence lie, class after class.

    Raises:
        ValueError: classes share some of these positions, or a sequence ends within them.
    """
    return _places(layout.made_of, n).to(layout.ids.device)


@lru_cache(maxsize=8)
def _places(layout: Layout, n: int) -> Tensor:
    starts = torch.cat([layout.end.new_tensor([layout.prefix]), layout.end[:-1] + 1])  # as the suffixes lie
    first = starts + 1 - layout.prefix
    if layout.prefix > 1 or n > layout.prefix + min(group.length for group in layout.groups) - 2:
        raise ValueError(f"There are no {n} positions before every class's end token that are its own.")
    return (first[layout.rank][:, None] + torch.arange(n, device=first.device)).flatten()


def _put(x: Tensor, new: Tensor) -> Tensor:
    return torch.cat([x[:1], new, x[1:]])


def _causal(length: int, before: int, device: torch.device) -> Tensor:
    """(1, 1, length, before + length), True where attention may look; `before` tokens are seen by all."""
    return torch.ones(length, before + length, dtype=torch.bool, device=device).tril(before)[None, None]
