"""What sweep.py wrote about its rows: `<output>/sweeps/<name>.json`, with the labels of a table and their order."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from report.records import read_json


@dataclass(frozen=True)
class Sweep:
    """`tables`: those it is for, by its name (table1_demo, table2_3); `rows`: label to resolved run directories."""

    name: str
    tables: frozenset[int]
    rows: dict[str, frozenset[Path]]

    @property
    def is_general(self) -> bool:
        """Whether its name binds it to no table or figure of the paper."""
        return not self.tables and not re.search(r"fig(ure)?_?\d", self.name)


def read_sweeps(output: Path) -> list[Sweep]:
    """The sweeps of an output tree, by name; `output` may be a part of the tree, such as output/base2new."""
    folder = next((top / "sweeps" for top in (output, output.resolve().parent) if (top / "sweeps").is_dir()), None)
    return [sweep for file in sorted(folder.glob("*.json")) if (sweep := read_sweep(file))] if folder else []


def read_sweep(file: Path) -> Sweep | None:
    """One sweep; None, and a line on stderr, if the file is damaged."""
    content = read_json(file)
    try:
        rows: dict[str, frozenset[Path]] = {}
        for row in content["rows"]:
            runs = {(file.parent.parent / run).resolve() for run in row["runs"]}
            rows[str(row["label"])] = rows.get(str(row["label"]), frozenset()) | runs
    except (TypeError, KeyError, ValueError, AttributeError):
        print(f"{file} is damaged, its labels are left out", file=sys.stderr)
        return None
    named = re.search(r"table_?(\d(?:_\d)*)", file.stem)
    return Sweep(file.stem, frozenset(map(int, named[1].split("_"))) if named else frozenset(), rows)
