"""Spearman's rank correlation with its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True)
class Correlation:
    """Spearman's rho over `n` points and its 95 % interval; the interval is None below five points."""

    rho: float
    n: int
    interval: tuple[float, float] | None

    def __str__(self) -> str:
        told = f", 95 % interval {self.interval[0]:+.2f} to {self.interval[1]:+.2f}" if self.interval else ""
        return f"Spearman's ρ = {self.rho:+.2f}{told}, {self.n} points"


def spearman(first: Sequence[float], second: Sequence[float]) -> Correlation | None:
    """The rank correlation of pairs; None below three, or where one side does not vary.

    The interval is Fisher's z with the standard error of Bonett and Wright (2000), sqrt((1 + rho^2 / 2) / (n - 3)).
    """
    n = len(first)
    if n < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    one, other = ([rank - (n + 1) / 2 for rank in ranks(part)] for part in (first, second))
    product = sum(a * b for a, b in zip(one, other, strict=True))
    rho = product / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))
    rho = max(-1.0, min(1.0, rho))
    if n < 5:
        return Correlation(rho, n, None)
    if abs(rho) == 1:
        return Correlation(rho, n, (rho, rho))
    half = 1.959964 * math.sqrt((1 + rho * rho / 2) / (n - 3))
    return Correlation(rho, n, (math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)))


def ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1; equal values share the mean of theirs."""
    ordered = sorted(values)
    place = {value: fmean(n for n, one in enumerate(ordered, 1) if one == value) for value in set(values)}
    return [place[value] for value in values]
