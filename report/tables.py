"""The paper's Tables 1-5 from the runs of an output tree."""

from dataclasses import dataclass
from pathlib import Path

from promptclip.common.names import unknown
from report import base2new, transfer
from report.methods import MethodRuns, group
from report.model import Table
from report.records import RunRecord, read_records
from report.sweeps import SweepRecord, read_sweeps

BUILDERS = {
    1: (base2new, "runs on base and new classes", "table1"),
    2: (transfer, "a training on all classes of one data set, evaluated on others", "table2_3"),
    3: (transfer, "a training on all classes of one data set, evaluated on other domains of it", "table2_3"),
    4: (base2new, "runs of RESTORE on base and new classes that differ in FS_WEIGHT alone", "table4"),
    5: (base2new, "runs of RESTORE on base and new classes that differ in SURGERY alone", "table5"),
}
"""What makes it, what it needs, and the sweep that has that."""


@dataclass
class Tree:
    """An output tree as read: records, the methods they are of, and the sweeps that name those."""

    output: Path
    records: list[RunRecord]
    methods: list[MethodRuns]
    sweeps: list[SweepRecord]


def read_tree(output: Path, dataset: str | None = None, sweep: str | None = None) -> Tree:
    """Read `output`.

    Args:
        output: directory of the runs.
        dataset: only runs tested on it (its name in the tables or registered, letter case aside).
        sweep: only runs of the sweep of that name.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: there is no run of `dataset`, or no such sweep.
    """
    records, sweeps = read_records(output), read_sweeps(output)
    if sweep is not None:
        sweeps = [one for one in sweeps if one.name == sweep]
        if not sweeps:
            known = [one.name for one in read_sweeps(output)]
            raise ValueError(unknown("sweep (--sweep)", sweep, known) if known else f"No sweep was run into {output}.")
        wanted = frozenset().union(*(directories for one in sweeps for directories in one.directories.values()))
        records = [record for record in records if record.directory in wanted]
    if dataset:
        there = sorted({record.dataset for record in records})
        wanted = dataset.casefold()
        records = [one for one in records if wanted in (one.dataset.casefold(), one.raw.get("dataset", "").casefold())]
        if not records:
            raise ValueError(f"No run of {dataset} below {output}; there are some of {', '.join(there)}.")
    return Tree(output, records, group(records), sweeps)


def build(
    tree: Tree, wanted: list[int] | None = None, metrics: tuple[str, ...] = ("accuracy",), marks: bool = True
) -> tuple[list[Table], list[str]]:
    """The tables for which there are runs, and for each of `wanted` that has none, a sentence on what it needs.

    Args:
        tree: the runs.
        wanted: numbers of tables; all if None.
        metrics: names of `report.metrics.ALL`.
        marks: whether to test what can be told from the best of its column.
    """
    tables, lacking = [], []
    for number in wanted or sorted(BUILDERS):
        builder, needs, sweep = BUILDERS[number]
        found = builder.tables(tree.methods, tree.sweeps, number, metrics)
        tables += found
        if not found:
            lacking.append(f"Table {number} needs {needs}: `python sweep.py {sweep}` makes them.")
    if marks:
        mark_ties(tables)
    return tables, lacking


def mark_ties(tables: list[Table]) -> None:
    """Mark in every column what cannot be told from the best; where not all could be tested, the table says so."""
    if not any(cell.statistic for table in tables for cell in table.cells):
        return
    from report import significance  # only now: NumPy takes a moment

    for table in tables:
        tested = []
        for block in table.blocks:
            same = [row.method.zero_shot for row in block.rows]
            for column in zip(*(row.cells for row in block.rows), strict=True):
                tested.append(significance.mark_ties(column, same))
        if False in tested and any(cell.tied for cell in table.cells):
            table.notes.append("Not every number was tested against the best: some runs left no predictions.csv.")
