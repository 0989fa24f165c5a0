"""Numbers over seeds, and the tables that hold them before they are printed; each number knows the runs behind it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import fmean, pstdev, stdev
from typing import TYPE_CHECKING

from report.records import RunRecord

if TYPE_CHECKING:
    from report.methods import MethodRuns


@dataclass(frozen=True)
class Scores:
    """What stands in a cell: `values` maps seed to a number, `sources` seed to the runs behind that number."""

    values: Mapping[int, float]
    sources: Mapping[int, tuple[RunRecord, ...]] = field(default_factory=dict)

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
        """Half width of the 95 % interval of the mean, t(0.975, n - 1) * s / sqrt(n) with s of ddof 1.

        None for one seed. Raises ModuleNotFoundError without SciPy.
        """
        if self.n < 2:
            return None
        try:
            from scipy.stats import t
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError('95 % intervals need SciPy: run `pip install ".[report]"`.') from error
        return float(t.ppf(0.975, self.n - 1)) * stdev(self.values.values()) / math.sqrt(self.n)

    @property
    def runs(self) -> list[RunRecord]:
        """All runs behind it, ordered by what was combined, then by seed."""
        return [run for part in zip(*self.sources.values(), strict=True) for run in part]


def combine(function: Callable[[list[float]], float], *parts: Scores) -> Scores:
    """`function` of the parts' numbers, seed by seed, for the seeds that all of them have."""
    # Not with pandas: its means are not rounded correctly, which changes the last printed digit of one in 300 averages
    seeds = sorted(set.intersection(*(set(part.values) for part in parts))) if parts else []
    values = {seed: function([part.values[seed] for part in parts]) for seed in seeds}
    return Scores(values, {seed: sum((part.sources.get(seed, ()) for part in parts), ()) for seed in seeds})


def harmonic_mean(pair: list[float]) -> float:
    """2ab / (a + b), which is 0 when both are 0."""
    base, new = pair
    return 2 * base * new / (base + new) if base + new else 0.0


@dataclass
class Cell:
    """A number over seeds, missing if it has none, beside the published one.

    Attributes:
        reason: why the method cannot have this number; "" where it is only missing.
        statistic: how the number follows from single images, for `report.significance`; "" where it does not.
        lower: whether less is better.
        decimals: digits after the point beyond those that percentages are printed with.
        signed: whether it is a change, written with its sign.
        best: whether it is the best of its column.
        tied: whether a test cannot tell it from the best.
        footnote: number of the footnote that gives `reason`.
    """

    scores: Scores
    published: float | None = None
    reason: str = ""
    statistic: str = ""
    lower: bool = False
    decimals: int = 0
    signed: bool = False
    best: bool = False
    tied: bool = False
    footnote: int = 0

    @property
    def chosen_on_test(self) -> bool:
        """Whether something behind the number was chosen by the accuracy on test images."""
        return any(run.selected_on == "test" for run in self.scores.runs)

    @property
    def difference(self) -> float | None:
        """Ours minus the published one."""
        return self.scores.mean - self.published if self.scores.n and self.published is not None else None


@dataclass
class TableRow:
    """One method: its cells in the order of the block's columns, and how many seeds stand behind them."""

    method: "MethodRuns"
    cells: list[Cell]
    seeds: str


@dataclass
class Block:
    """A part of a table with a header of its own. Where it is `ranked`, the best mean of a column is marked."""

    title: str
    columns: list[str]
    rows: list[TableRow]
    ranked: bool = True

    def __post_init__(self) -> None:
        for column in zip(*(row.cells for row in self.rows), strict=True) if self.ranked else ():
            means = [round(cell.scores.mean, 6) for cell in column if cell.scores.n]
            for cell in column if len(means) > 1 else ():
                best = min(means) if cell.lower else max(means)
                cell.best = bool(cell.scores.n) and round(cell.scores.mean, 6) == best


@dataclass
class Table:
    """One table for one backbone and number of shots; `number` is the paper's, None of one that it does not have."""

    number: int | None
    title: str
    setting: str
    blocks: list[Block]
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for cell in self.cells:
            cell.footnote = self.reasons.index(cell.reason) + 1 if cell.reason else 0

    @property
    def reasons(self) -> list[str]:
        """Why methods cannot have some of the numbers, in the order of the footnotes."""
        return list(dict.fromkeys(cell.reason for cell in self.cells if cell.reason))

    @property
    def cells(self) -> list[Cell]:
        """Every cell."""
        return [cell for block in self.blocks for row in block.rows for cell in row.cells]
