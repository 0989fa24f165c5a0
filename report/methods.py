"""Which runs make a row of a table: those of one method in one configuration; and what to call it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from report.model import Scores, combine
from report.names import METHODS, method_order
from report.records import RunRecord
from report.sweeps import SweepRecord

TELLING = ("TRAINER.", "OPTIM.", "MODEL.", "INPUT.", "DATALOADER.TRAIN_X.", "DATASET.NUM_SHOTS")
"""Sections of the configuration in which runs of different experiments differ."""


def accuracy(record: RunRecord) -> float | None:
    """Percent."""
    return record.accuracy


@dataclass(eq=False)
class MethodRuns:
    """The runs of one method in one configuration; of what learns nothing, whatever its shots and experiment.

    Attributes:
        shots: training images per class.
        epochs: trained epochs behind the evaluated weights: another --load-epoch is another row.
        label: its name in tables.
    """

    trainer: str
    backbone: str
    from_log: bool
    shots: int | None = None
    experiment: str = ""
    epochs: int | None = None
    records: list[RunRecord] = field(default_factory=list)
    label: str = ""

    @property
    def finished(self) -> list[RunRecord]:
        """The runs with a result."""
        return [record for record in self.records if record.complete and not record.unsupported]

    def reason(self, datasets: Iterable[str], parts: Iterable[str]) -> str:
        """Why the method cannot be tested on these classes of the data sets; "" if nothing says that it cannot."""
        names, wanted = set(datasets), set(parts)
        told = (one for one in self.records if one.unsupported and one.dataset in names and one.part in wanted)
        return next((one.unsupported for one in told), "")

    @property
    def zero_shot(self) -> bool:
        """Whether the method learns nothing."""
        return self.records[0].zero_shot

    @property
    def config(self) -> dict[str, Any]:
        """The flattened configuration of one of its runs, of a training if there is one; {} where none was kept."""
        kept = [record for record in self.records if record.config]
        return min(kept, key=lambda record: record.mode != "train").config if kept else {}

    def option(self, name: str) -> Any:
        """The method's own option `name` (FS_WEIGHT); None if it has none or the configuration was not kept."""
        return self.config.get(f"TRAINER.{self.trainer.upper()}.{name}")

    def runs(self, dataset: str, subset: str, source: str | None = None) -> dict[int, RunRecord]:
        """Seed to run on these classes of a data set. Of a training and an evaluation of the same, the evaluation.

        Args:
            subset: base, new, all, or joint: all classes, by what was trained on the base ones or learns nothing.
            source: the data set that it must have been trained on, unless the method learns nothing.
        """
        chosen = [one for one in self.finished if one.dataset == dataset and in_part(one, subset)]
        if source and not self.zero_shot:
            chosen = [one for one in chosen if (one.source or one.dataset) == source]
        return {one.seed: one for one in sorted(chosen, key=lambda one: (one.mode == "eval", str(one.path)))}

    def scores(
        self, dataset: str, subset: str, source: str | None = None, value: Callable[[RunRecord], Any] = accuracy
    ) -> Scores:
        """`value` of these runs, those left out that have none."""
        runs = {seed: run for seed, run in self.runs(dataset, subset, source).items() if value(run) is not None}
        return Scores({seed: value(run) for seed, run in runs.items()}, {seed: (run,) for seed, run in runs.items()})

    def average(self, datasets: list[str], subset: str, value: Callable[[RunRecord], Any] = accuracy) -> Scores:
        """The mean of `value` over data sets that it was trained on, for the seeds that have all of them."""
        return combine(fmean, *(self.scores(dataset, subset, dataset, value) for dataset in datasets))

    def unfinished(self, datasets: Iterable[str], subsets: Iterable[str]) -> int:
        """How many runs on these classes have begun and not ended."""
        names, parts = set(datasets), set(subsets)
        return sum(not one.complete and one.dataset in names and one.subset in parts for one in self.records)


def in_part(record: RunRecord, part: str) -> bool:
    """Whether a run was tested on these classes; what learns nothing is the same for all classes and for joint."""
    return record.part == part or (part == "joint" and record.zero_shot and record.subset == "all")


def group(records: Iterable[RunRecord]) -> list[MethodRuns]:
    """All methods in the paper's order, labelled by their name and, where one has several rows, by what differs."""
    found: dict[tuple, MethodRuns] = {}
    for record in records:
        details = () if record.zero_shot else (record.shots, record.experiment, record.trained_epochs)
        key = (record.trainer, record.backbone, record.from_log, *details)
        found.setdefault(key, MethodRuns(*key)).records.append(record)
    methods = sorted(found.values(), key=lambda method: (method_order(method.trainer), method.from_log))
    variants = defaultdict(list)
    for method in methods:
        variants[method.trainer, method.from_log, method.backbone].append(method)
    for members in variants.values():
        label(members)
    return methods


def label(variants: list[MethodRuns]) -> None:
    """Name the variants of one method by the options that differ, those that most of them share left out."""
    for method, parts in zip(variants, differences(variants), strict=True):
        name = METHODS.get(method.trainer, method.trainer) + (", from logs" if method.from_log else "")
        method.label = name + (f" ({', '.join(parts)})" if parts else "")
    counts = Counter(method.label for method in variants)
    for method in variants:
        if counts[method.label] > 1:
            method.label += f" [{method.experiment or method.records[0].path.parent.name}]"


def differences(variants: list[MethodRuns]) -> list[list[str]]:
    """For each variant of one method the options that set it apart, as short as they are clear."""
    if len(variants) == 1:
        return [[]]
    own = f"TRAINER.{variants[0].trainer.upper()}."
    options = [
        {
            key: str(value)
            for key, value in method.config.items()
            if key.startswith(TELLING) and (not key.startswith("TRAINER.") or key.startswith(own))
        }
        for method in variants
    ]
    if not all(options):  # some configurations were not kept: the configuration's name in the path has to do
        names = [method.records[0].path.parent.name for method in variants]
        several = len(set(names)) < len(variants)
        return [[name] + [f"epoch {one.epochs}"] * several for name, one in zip(names, variants, strict=True)]
    varying = [key for key in sorted(set().union(*options)) if len({one.get(key) for one in options}) > 1]
    common = {key: most_common([one.get(key) for one in options]) for key in varying}
    parts = []
    for one, method in zip(options, variants, strict=True):
        differing = [key for key in varying if one.get(key) != common[key]]
        named = [f"{key.rpartition('.')[2]} {one.get(key, 'not set')}" for key in differing]
        last = method.config.get("OPTIM.MAX_EPOCH")
        other = last is not None and method.epochs not in (last, None)
        parts.append(named + [f"epoch {method.epochs}"] * other)
    return parts


def most_common(values: list[Any]) -> Any:
    """The value that more variants have than any other; an object like nothing else if there is a tie."""
    ranked = Counter(values).most_common(2)
    return ranked[0][0] if len(ranked) == 1 or ranked[0][1] > ranked[1][1] else object()


def listed(methods: list[MethodRuns], sweeps: list[SweepRecord], part: str) -> list[MethodRuns]:
    """The methods that belong in `part` (table1, fig3): first those of its own sweeps, with the labels given there.

    Those that only an ablation's sweep has run are left to that one.
    """
    own = [sweep for sweep in sweeps if part in sweep.serves]
    others = [sweep for sweep in sweeps if part not in sweep.serves and not sweep.is_ablation]
    ablations = [sweep for sweep in sweeps if part not in sweep.serves and sweep.is_ablation]
    found: dict[MethodRuns, MethodRuns] = {}
    for sweep in [*own, *others]:
        labels = {method: sweep.label_of(method.records) for method in methods}
        for wanted in sweep.directories:
            found |= {
                method: replace(method, label=wanted)
                for method in methods
                if labels[method] == wanted and method not in found
            }
    rest = [method for method in methods if method not in found]
    return [*found.values(), *(one for one in rest if not any(sweep.label_of(one.records) for sweep in ablations))]


def listed_only(methods: list[MethodRuns], sweeps: list[SweepRecord], part: str) -> list[MethodRuns]:
    """The methods that a sweep for `part` has, with its labels and in its order."""
    own = [sweep for sweep in sweeps if part in sweep.serves]
    return listed([one for one in methods if any(sweep.label_of(one.records) for sweep in own)], own, part)
