"""The paper's Tables 1-5 from the runs of an output tree."""

from dataclasses import dataclass
from pathlib import Path

from report import base2new, transfer
from report.model import Table
from report.records import Record, read_records
from report.rows import Row, group
from report.sweeps import Sweep, read_sweeps

BUILDERS = {1: base2new, 2: transfer, 3: transfer, 4: base2new, 5: base2new}
LACKING = {
    1: "Table 1 needs runs on base and new classes",
    2: "Table 2 needs a training on all classes of one data set, evaluated on others",
    3: "Table 3 needs a training on all classes of one data set, evaluated on other domains of it",
    4: "Table 4 needs runs of RESTORE on base and new classes that differ in FS_WEIGHT alone",
    5: "Table 5 needs runs of RESTORE on base and new classes that differ in SURGERY alone",
}
SPECS = {1: "table1", 2: "table2_3", 3: "table2_3", 4: "table4", 5: "table5"}


@dataclass
class Tree:
    """An output tree as read: records, rows and the sweeps that name them."""

    output: Path
    records: list[Record]
    rows: list[Row]
    sweeps: list[Sweep]


def read_tree(output: Path, dataset: str | None = None) -> Tree:
    """Read `output`; of data set `dataset` only if given (registered name, letter case aside).

    Raises FileNotFoundError if there is nothing, ValueError if there is no run of `dataset`.
    """
    records = read_records(output)
    if dataset:
        there = sorted({record.dataset for record in records})
        records = [record for record in records if record.dataset.casefold() == dataset.casefold()]
        if not records:
            raise ValueError(f"No run of {dataset} below {output}; there are some of {', '.join(there)}.")
    return Tree(output, records, group(records), read_sweeps(output))


def build(tree: Tree, wanted: list[int] | None = None) -> tuple[list[Table], list[str]]:
    """The tables for which there are runs, and for each of `wanted` that has none, a sentence on what it needs."""
    tables, lacking = [], []
    for number in wanted or sorted(BUILDERS):
        found = BUILDERS[number].tables(tree.rows, tree.sweeps, number)
        tables += found
        if not found:
            lacking.append(f"{LACKING[number]}: `python sweep.py {SPECS[number]}` makes them.")
    return tables, lacking
