"""Rows of tables: the runs of one method in one configuration, and what to call them."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from report.names import METHODS, method_order
from report.records import Record
from report.sweeps import Sweep

TELLING = ("TRAINER.", "OPTIM.", "MODEL.", "INPUT.", "DATALOADER.TRAIN_X.", "DATASET.NUM_SHOTS")
"""Sections of the configuration in which runs of different experiments differ."""


@dataclass
class Row:
    """One row: a trainer with one experiment (configuration). `label` is unique among the rows of `group`."""

    trainer: str
    records: list[Record] = field(default_factory=list)
    label: str = ""

    @property
    def finished(self) -> list[Record]:
        """The runs with a result."""
        return [record for record in self.records if record.complete]

    @property
    def zero_shot(self) -> bool:
        """Whether the method learns nothing."""
        return self.records[0].zero_shot

    @property
    def backbone(self) -> str:
        """Name of the backbone, one a row."""
        return self.records[0].backbone

    @property
    def shots(self) -> int | None:
        """Training images a class, one number a row; None for what learns nothing."""
        return None if self.zero_shot else self.records[0].shots

    @property
    def config(self) -> dict[str, Any]:
        """The flattened configuration of one of its runs; {} where none was kept."""
        return next((record.config for record in self.records if record.config), {})

    def option(self, name: str) -> Any:
        """The method's own option `name` (FS_WEIGHT); None if it has none or the configuration was not kept."""
        return self.config.get(f"TRAINER.{self.trainer.upper()}.{name}")

    def runs(self, dataset: str, subset: str) -> dict[int, Record]:
        """Seed to run on these classes of a data set. Of a training and an evaluation of the same, the evaluation."""
        chosen = [one for one in self.finished if (one.dataset, one.subset) == (dataset, subset)]
        return {one.seed: one for one in sorted(chosen, key=lambda one: (one.mode == "eval", str(one.path)))}

    def unfinished(self, datasets: Iterable[str], subsets: Iterable[str]) -> int:
        """How many runs on these classes have begun and not ended."""
        names, parts = set(datasets), set(subsets)
        return sum(not one.complete and one.dataset in names and one.subset in parts for one in self.records)


def group(records: Iterable[Record]) -> list[Row]:
    """Rows in the paper's order, labelled by method and, where a method has several, by what differs."""
    rows: dict[tuple, Row] = {}
    for record in records:
        details = () if record.zero_shot else (record.shots, record.experiment, trained_epochs(record))
        key = (record.trainer, record.backbone, record.from_log, *details)
        rows.setdefault(key, Row(record.trainer)).records.append(record)
    listed = sorted(rows.values(), key=lambda row: (method_order(row.trainer), row.records[0].from_log))
    by_trainer = defaultdict(list)
    for row in listed:
        by_trainer[row.trainer, row.records[0].from_log, row.backbone].append(row)
    for family in by_trainer.values():
        label(family)
    return listed


def trained_epochs(record: Record) -> int | None:
    """Epochs behind the evaluated weights: another --load-epoch is another row."""
    return record.epoch if record.epoch is not None else record.config.get("OPTIM.MAX_EPOCH")


def label(family: list[Row]) -> None:
    """Name the rows of one trainer: by the options that differ, those that most rows share left out."""
    differing = differences(family)
    for row, parts in zip(family, differing, strict=True):
        name = METHODS.get(row.trainer, row.trainer)
        name += ", from logs" if row.records[0].from_log else ""
        row.label = name + (f" ({', '.join(parts)})" if parts else "")
    twice = Counter(row.label for row in family)
    for row in family:
        if twice[row.label] > 1:
            row.label += f" [{row.records[0].experiment or row.records[0].path.parent.name}]"


def differences(family: list[Row]) -> list[list[str]]:
    """For each row of one trainer the options that set it apart, as short as they are clear."""
    if len(family) == 1:
        return [[]]
    trainer = family[0].trainer.upper()
    mine = [
        {
            key: str(value)
            for key, value in row.config.items()
            if key.startswith(TELLING) and (not key.startswith("TRAINER.") or key.startswith(f"TRAINER.{trainer}."))
        }
        for row in family
    ]
    if not all(mine):  # some configurations were not kept: the configuration's name in the path has to do
        names = [row.records[0].path.parent.name for row in family]
        epochs = [trained_epochs(row.records[0]) for row in family]
        several = len(set(names)) < len(family)
        return [[name, f"epoch {epoch}"] if several else [name] for name, epoch in zip(names, epochs, strict=True)]
    keys = sorted(set().union(*mine))
    varying = [key for key in keys if len({one.get(key) for one in mine}) > 1]
    usual = {key: most_common([one.get(key) for one in mine]) for key in varying}
    parts = []
    for one, row in zip(mine, family, strict=True):
        own = [f"{key.rpartition('.')[2]} {one.get(key, 'not set')}" for key in varying if one.get(key) != usual[key]]
        epoch, last = trained_epochs(row.records[0]), row.config.get("OPTIM.MAX_EPOCH")
        parts.append(own + ([f"epoch {epoch}"] if last is not None and epoch not in (last, None) else []))
    return parts


def most_common(values: list[Any]) -> Any:
    """The value that more rows have than any other; an object like nothing else if there is a tie."""
    ranked = Counter(values).most_common(2)
    return ranked[0][0] if len(ranked) == 1 or ranked[0][1] > ranked[1][1] else object()


def sweep_label(row: Row, sweep: Sweep) -> str | None:
    """What `sweep` calls the row: the label under which most of its runs stand; None if it has none of them."""
    paths = {record.path.resolve() for record in row.records}
    shared = {name: len(paths & runs) for name, runs in sweep.rows.items()}
    best = max(shared, key=shared.get, default=None)
    return best if best is not None and shared[best] else None


def named_rows(rows: list[Row], sweeps: list[Sweep], part: str) -> list[tuple[str, Row]]:
    """(label, row) of the rows that belong in `part` (table1, fig3): those of its own sweeps first, in their words.

    Rows that only an ablation's sweep has run are left to that one.
    """
    own = [sweep for sweep in sweeps if part in sweep.serves]
    others = [sweep for sweep in sweeps if part not in sweep.serves and not sweep.is_ablation]
    foreign = [sweep for sweep in sweeps if part not in sweep.serves and sweep.is_ablation]
    named: dict[int, tuple[str, Row]] = {}
    for sweep in [*own, *others]:
        labels = {id(row): sweep_label(row, sweep) for row in rows}
        for wanted in sweep.rows:
            for row in rows:
                if labels[id(row)] == wanted:
                    named.setdefault(id(row), (wanted, row))
    left = [row for row in rows if id(row) not in named]
    rest = [(row.label, row) for row in left if not any(sweep_label(row, sweep) for sweep in foreign)]
    return [*named.values(), *rest]


def from_sweep(rows: list[Row], sweeps: list[Sweep], part: str) -> list[tuple[str, Row]]:
    """The rows that a sweep for `part` lists, in its words and order."""
    own = [sweep for sweep in sweeps if part in sweep.serves]
    listed = {path for sweep in own for runs in sweep.rows.values() for path in runs}
    mine = [row for row in rows if any(record.path.resolve() in listed for record in row.records)]
    return named_rows(mine, own, part)
