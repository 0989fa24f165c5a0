"""What sweep.py wrote about its rows: `<output>/sweeps/<name>.json`, with the labels of a table and their order."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from report.records import read_json

ABLATIONS = {"table4", "table5", "fig4", "choices"}


@dataclass(frozen=True)
class Sweep:
    """`serves`: the tables and figures it is for, by its name (demo_table1, table2_3, fig4: {"fig4"}, choices); `rows`:
    label to resolved run directories.
    """

    name: str
    serves: frozenset[str]
    rows: dict[str, frozenset[Path]]

    @property
    def is_ablation(self) -> bool:
        """Whether it is only for parts of the paper that show variants of a method."""
        return bool(self.serves) and self.serves <= ABLATIONS


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
    named = re.findall(r"(table|fig)(?:ure)?_?(\d(?:_\d)*)", file.stem)
    serves = {f"{kind}{n}" for kind, numbers in named for n in numbers.split("_")}
    return Sweep(file.stem, frozenset(serves | set(re.findall("choices", file.stem))), rows)
