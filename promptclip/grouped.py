"""Attention of class prompts on the CPU, where nothing padded is computed: the prefix once over itself, then the
suffixes of one length together over the prefix and themselves. Accelerators take `rows.py`."""

from typing import NamedTuple

import torch
from torch import Tensor

from promptclip.block import attend
from promptclip.class_prompts import Layout


class Heads(NamedTuple):
    """What attention takes, H heads of width d: the prefix's queries, keys and values, each (G, P, H, d), and for each
    group the suffixes' queries (G * K', S', H, d), and keys and values of all they may see (G * K', P + S', H, d)."""

    prefix: tuple[Tensor, Tensor, Tensor]
    suffixes: list[tuple[Tensor, Tensor, Tensor]]


def split_heads(layout: Layout, qkv: Tensor) -> Heads:
    """qkv (G, N, 3, H, d) for `attend_grouped`, made once for the passes with and without prompts."""
    q, kv = qkv.split([1, 2], dim=2)  # rather than by index, whose gradient is a tensor of zeros to add to
    (queries, own_queries), (prefix, suffixes) = _cut(layout, q.squeeze(2)), _cut(layout, kv)
    own = [(query, *_after_prefix(prefix, suffix)) for query, suffix in zip(own_queries, suffixes, strict=True)]
    keys, values = prefix.unbind(2)
    return Heads((queries, keys, values), own)


def attend_grouped(layout: Layout, heads: Heads, unprompted: bool = False) -> Tensor:
    """Attention of all tokens (G, N, W): of the prefix over itself, of each suffix over the prefix and itself;
    `unprompted` with prompt tokens out of sight."""
    masks = [group.unprompted_mask if unprompted else group.mask for group in layout.groups]
    suffixes = [attend(*own, _for_each(mask, own[0])) for own, mask in zip(heads.suffixes, masks, strict=True)]
    if not layout.prefix:
        return _join(layout, heads.prefix[0].flatten(2), suffixes)
    mask = layout.unprompted_prefix_mask if unprompted else layout.prefix_mask
    return _join(layout, attend(*heads.prefix, mask), suffixes)


def attend_from_ends(layout: Layout, q: Tensor, kv: Tensor) -> Tensor:
    """Attention of the end tokens (G, K, W): queries (G, K, H, d), keys and values of all (G, N, 2, H, d)."""
    prefix, suffixes = _cut(layout, kv)
    queries = q.split([group.classes for group in layout.groups], dim=1)
    attended = [
        attend(own.flatten(0, 1)[:, None], *_after_prefix(prefix, suffix)).view(*own.shape[:2], -1)
        for own, suffix in zip(queries, suffixes, strict=True)  # an end token sees all before it
    ]
    return torch.cat(attended, dim=1)


def _cut(layout: Layout, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """x (G, N, ...) as it lies, cut into prefix (G, P, ...) and each group's suffixes (G * K', S', ...)."""
    prefix, *suffixes = x.split([layout.prefix, *(group.classes * group.length for group in layout.groups)], dim=1)
    shapes = [(group.classes, group.length) for group in layout.groups]
    return prefix, [x.unflatten(1, shape).flatten(0, 1) for x, shape in zip(suffixes, shapes, strict=True)]


def _join(layout: Layout, prefix: Tensor, suffixes: list[Tensor]) -> Tensor:
    """The inverse of `_cut`."""
    pairs = zip(suffixes, layout.groups, strict=True)
    return torch.cat([prefix, *(x.unflatten(0, (-1, group.classes)).flatten(1, 2) for x, group in pairs)], dim=1)


def _after_prefix(prefix: Tensor, suffixes: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values, each (G * K', P + S', H, d): of the prefix (G, P, 2, H, d) before each suffix's."""
    classes = len(suffixes) // len(prefix)
    before = prefix[:, None].expand(-1, classes, -1, -1, -1, -1).flatten(0, 1)
    keys, values = torch.cat([before, suffixes], dim=1).unbind(2)
    return keys, values


def _for_each(mask: Tensor, rows: Tensor) -> Tensor:
    """A mask that serves all, or one per class, (1 or K', 1, ., .), for each of G * K' rows."""
    return mask if len(mask) == 1 else mask.repeat(len(rows) // len(mask), 1, 1, 1)
