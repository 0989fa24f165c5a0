"""Mean, spread and interval over seeds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, pstdev, stdev


@dataclass(frozen=True)
class Summary:
    """What stands in a cell: `values` maps seed to a number (percent)."""

    values: Mapping[int, float]

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return fmean(self.values.values())

    @property
    def std(self) -> float | None:
        """Population standard deviation (ddof 0), as CoOp's parser and the field have it; None for one seed."""
        return pstdev(self.values.values()) if self.n > 1 else None

    @property
    def interval(self) -> float | None:
        """Half width of the 95 % interval of the mean, t(0.975, n - 1) * s / sqrt(n) with s of ddof 1; None for one
        seed. Raises ModuleNotFoundError without SciPy.
        """
        if self.n < 2:
            return None
        return student(self.n - 1) * stdev(self.values.values()) / math.sqrt(self.n)


def student(freedom: int) -> float:
    """The 0.975 quantile of Student's t."""
    try:
        from scipy.stats import t
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('95 % intervals need SciPy: run `pip install ".[report]"`.') from error
    return float(t.ppf(0.975, freedom))


def harmonic_mean(base: float, new: float) -> float:
    """2ab / (a + b), which is 0 when both are 0."""
    return 2 * base * new / (base + new) if base + new else 0.0


def per_seed(combine, *parts: Mapping[int, float]) -> dict[int, float]:
    """`combine` of the parts' numbers, for the seeds that all of them have."""
    seeds = set.intersection(*(set(part) for part in parts)) if parts else set()
    return {seed: combine([part[seed] for part in parts]) for seed in sorted(seeds)}
