"""A table before it is printed: blocks of rows of cells, each cell with the runs behind it."""

from dataclasses import dataclass, field

from report.records import Record
from report.rows import Row
from report.statistics import Summary


@dataclass
class Cell:
    """A number over seeds; `summary` None is a missing one. `runs`: what it was computed from."""

    summary: Summary | None = None
    runs: list[Record] = field(default_factory=list)
    published: float | None = None
    best: bool = False

    @property
    def difference(self) -> float | None:
        """Ours minus the published one."""
        return None if self.summary is None or self.published is None else self.summary.mean - self.published


@dataclass
class Line:
    """One method: its cells in the order of the block's columns, and how many seeds stand behind them."""

    label: str
    row: Row
    cells: list[Cell]
    seeds: str = ""


@dataclass
class Block:
    """A part of a table with a header of its own."""

    title: str
    columns: list[str]
    lines: list[Line]


@dataclass
class Table:
    """One table of the paper, for one backbone and number of shots."""

    number: int
    title: str
    setting: str
    blocks: list[Block]
    notes: list[str] = field(default_factory=list)


def cell(values: dict[int, float], runs: list[Record], published: float | None = None) -> Cell:
    """A cell of `values` (seed to percent); missing if there are none."""
    return Cell(Summary(values) if values else None, runs, published)


def mark_best(block: Block) -> Block:
    """Mark the highest mean of each column, ties too, if there is anything to compare it with."""
    for place in range(len(block.columns)):
        column = [line.cells[place] for line in block.lines if line.cells[place].summary]
        highest = max((round(one.summary.mean, 6) for one in column), default=0.0)
        for one in column:
            one.best = len(column) > 1 and round(one.summary.mean, 6) == highest
    return block


def count_seeds(parts: dict[str, set[int]], unfinished: int) -> str:
    """How many seeds stand behind a line: one number if all parts ({"base": seeds}) have the same ones."""
    sets = list(parts.values())
    if all(one == sets[0] for one in sets):
        counted = str(len(sets[0]))
    else:
        counted = ", ".join(f"{len(seeds)} {name}" for name, seeds in parts.items())
    return counted + (f" (+{unfinished} unfinished)" if unfinished else "")
