"""What sweep.py wrote about its rows: `<output>/sweeps/<name>.json`, with the labels of a table and their order."""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from report.records import RunRecord, read_json

ABLATIONS = {"table4", "table5", "fig4", "choices"}


@dataclass(frozen=True)
class SweepRecord:
    """One sweep.

    Attributes:
        name: its file's.
        serves: the tables and figures it is for, by its name (demo_table1, table2_3, fig4: {"fig4"}, choices).
        directories: label to resolved run directories.
    """

    name: str
    serves: frozenset[str]
    directories: dict[str, frozenset[Path]]

    @property
    def is_ablation(self) -> bool:
        """Whether it is only for parts of the paper that show variants of a method."""
        return bool(self.serves) and self.serves <= ABLATIONS

    def label_of(self, records: Iterable[RunRecord]) -> str | None:
        """The label under which most of `records` stand; None if the sweep has none of them."""
        paths = {record.directory for record in records}
        shared = {label: len(paths & listed) for label, listed in self.directories.items()}
        best = max(shared, key=shared.get, default=None)
        return best if best is not None and shared[best] else None


def read_sweeps(output: Path) -> list[SweepRecord]:
    """The sweeps of an output tree, by name; `output` may be a part of the tree, such as output/base2new."""
    folder = next((top / "sweeps" for top in (output, output.resolve().parent) if (top / "sweeps").is_dir()), None)
    return [sweep for file in sorted(folder.glob("*.json")) if (sweep := read_sweep(file))] if folder else []


def read_sweep(file: Path) -> SweepRecord | None:
    """One sweep; None, and a sentence on stderr, if the file is damaged."""
    content = read_json(file)
    try:
        directories: dict[str, frozenset[Path]] = {}
        for row in content["rows"]:
            runs = {(file.parent.parent / run).resolve() for run in row["runs"]}
            directories[str(row["label"])] = directories.get(str(row["label"]), frozenset()) | runs
    except (TypeError, KeyError, ValueError, AttributeError, OSError, RuntimeError):
        print(f"{file} is damaged, its labels are left out", file=sys.stderr)
        return None
    named = re.findall(r"(table|fig)(?:ure)?_?(\d(?:_\d)*)", file.stem)
    serves = {f"{kind}{n}" for kind, numbers in named for n in numbers.split("_")}
    return SweepRecord(file.stem, frozenset(serves | set(re.findall("choices", file.stem))), directories)
