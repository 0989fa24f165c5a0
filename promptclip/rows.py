"""Attention of class prompts on an accelerator: each class's whole prompt is one row of L places, so that all of them
take one fused causal attention without a mask, where suffixes by length (`grouped.py`) would take one for each length.

Only attention sees rows; everything else stays packed (`class_prompts.py`). Places behind a prompt's end hold its end
token again: nothing before them looks there, and nothing is read off them.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Read(NamedTuple):
    """Which of many places are read off, each at most once.

    Attributes:
        place: (M,) where each of M tokens is read.
        token: (all places,) which of the M it is; any where none is read.
        used: (all places, 1) whether one is.
    """

    place: Tensor
    token: Tensor
    used: Tensor

    def to(self, device: torch.device) -> "Read":
        """The same on `device`."""
        return Read(*(tensor.to(device) for tensor in self))


class Rows(NamedTuple):
    """K rows of L places for packed tokens, in the order of the classes.

    Attributes:
        classes: K.
        length: L.
        token: (K * L,) which of the N packed tokens stands at each place.
        shared: tokens that all rows begin with.
        own: (T',) the place of each further token that stands in a row.
        back: (N,) where the gradient of each packed token lies among those of the shared, of the others, and a zero
            behind them for tokens that stand nowhere; None where all stand somewhere.
        real: (K * L, 1) whether a place lies before the end of its row's prompt.
        read: the packed tokens, off the K * L places.
        ends: the end tokens of the K classes, off the K * L places.
        packed_ends: the end tokens, off the N packed ones.
    """

    classes: int
    length: int
    token: Tensor
    shared: int
    own: Tensor
    back: Tensor | None
    real: Tensor
    read: Read
    ends: Read
    packed_ends: Read

    def to(self, device: torch.device) -> "Rows":
        """The same on `device`."""
        return self._replace(
            token=self.token.to(device),
            own=self.own.to(device),
            back=None if self.back is None else self.back.to(device),
            real=self.real.to(device),
            read=self.read.to(device),
            ends=self.ends.to(device),
            packed_ends=self.packed_ends.to(device),
        )


def rows_of(prefix: int, lengths: Tensor, rank: Tensor, kept: Tensor) -> Rows:
    """Rows of packed tokens.

    Args:
        prefix: P, tokens of the prefix.
        lengths: (K,) tokens of each suffix, as they lie.
        rank: (K,) of each class, where its suffix lies among them.
        kept: (N,) bool, which tokens stand in rows. End tokens must.
    """
    device, count, classes = kept.device, len(kept), len(lengths)
    places = torch.arange(prefix + int(lengths.max()), device=device)
    starts, lengths = (lengths.cumsum(0) - lengths)[rank][:, None], lengths[rank]
    within = places - prefix
    packed = torch.where(places < prefix, places, prefix + starts + within.clamp(min=0))  # (K, P + S)
    standing = within < lengths[:, None]
    ends = prefix + starts[:, 0] + lengths - 1
    standing &= kept[packed.clamp(max=count - 1)]
    length = int(standing.sum(1).max())
    token = ends[:, None].repeat(1, length)
    row, column = standing.nonzero(as_tuple=True)
    place = standing.cumsum(1)[row, column] - 1
    token[row, place] = packed[row, column]
    real = torch.arange(length, device=device) < standing.sum(1, keepdim=True)
    shared = int(kept[:prefix].sum())

    where = torch.zeros(count, dtype=torch.long, device=device)  # of each token, in the first row that holds it
    flat = row * length + place
    first = (row == 0) | (place >= shared)
    where[packed[row, column][first]] = flat[first]
    used = torch.zeros(classes * length, dtype=torch.bool, device=device)
    used[flat[first]] = True
    back = None
    if not kept.all():
        back = torch.where(kept, kept.cumsum(0) - 1, int(kept.sum()))
    every = torch.arange(classes, device=device)
    return Rows(
        classes=classes,
        length=length,
        token=token.flatten(),
        shared=shared,
        own=where[prefix:][kept[prefix:]],
        back=back,
        real=real.flatten()[:, None],
        read=Read(where, token.flatten(), used[:, None]),
        ends=_read(every * length + real.sum(1) - 1, classes * length),
        packed_ends=_read(ends, count),
    )


def _read(place: Tensor, count: int) -> Read:
    """`Read` of these places among `count`."""
    token = torch.zeros(count, dtype=torch.long, device=place.device)
    token[place] = torch.arange(len(place), device=place.device)
    used = torch.zeros(count, 1, dtype=torch.bool, device=place.device)
    used[place] = True
    return Read(place, token, used)


def into_rows(x: Tensor, rows: Rows) -> Tensor:
    """Packed x (G, N, C) -> (G, K * L, C)."""
    return _IntoRows.apply(x, rows) if torch.is_grad_enabled() else x.index_select(1, rows.token)


def off_places(x: Tensor, read: Read) -> Tensor:
    """x (G, all places, C) -> (G, M, C) at those that are read off."""
    return _OffPlaces.apply(x, read) if torch.is_grad_enabled() else x.index_select(1, read.place)


class _IntoRows(torch.autograd.Function):
    """Its gradient is sums and copies in a fixed order; that of an index would be added up by atomics, or sorted
    first where a run is to be repeatable."""

    @staticmethod
    def forward(ctx, x: Tensor, rows: Rows) -> Tensor:
        ctx.rows = rows
        return x.index_select(1, rows.token)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        rows = ctx.rows
        shared = grad.unflatten(1, (rows.classes, rows.length))[:, :, : rows.shared].sum(1)
        parts = [shared, grad.index_select(1, rows.own)]
        if rows.back is None:
            return torch.cat(parts, 1), None
        zero = grad.new_zeros(len(grad), 1, grad.shape[2])
        return torch.cat([*parts, zero], 1).index_select(1, rows.back), None


class _OffPlaces(torch.autograd.Function):
    """As `_IntoRows`, the other way."""

    @staticmethod
    def forward(ctx, x: Tensor, read: Read) -> Tensor:
        ctx.read = read
        return x.index_select(1, read.place)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad.index_select(1, ctx.read.token) * ctx.read.used, None


def attend_in_rows(qkv: Tensor, rows: Rows, ends: bool = False) -> Tensor:
    """Causal softmax attention of packed tokens, qkv (G, N, 3, H, d), each over its class's tokens in `rows`.

    Returns (G, N, H * d), or (G, K, H * d) of the `ends` alone; meaningless at tokens that stand in no row.
    """
    groups, _, three, heads, width = qkv.shape
    taken = into_rows(qkv.flatten(2), rows).view(groups * rows.classes, rows.length, three, heads, width)
    q, k, v = (one.transpose(1, 2) for one in taken.unbind(2))
    attended = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
    placed = attended.reshape(groups, rows.classes * rows.length, heads * width)
    return off_places(placed, rows.ends if ends else rows.read)


def at_ends(x: Tensor, rows: Rows) -> Tensor:
    """(G, K, C) of packed x (G, N, C) at each class's end token."""
    return off_places(x, rows.packed_ends)


def sum_over_rows(x: Tensor, rows: Rows) -> Tensor:
    """(G, K) sums of packed x (G, N) over each class's tokens in `rows`."""
    taken = into_rows(x[..., None], rows) * rows.real
    return taken.view(len(x), rows.classes, rows.length).sum(2)
