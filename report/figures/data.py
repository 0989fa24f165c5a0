"""What figures draw: numbers of rows, averaged over data sets per seed."""

import sys
from collections import Counter
from collections.abc import Callable
from statistics import fmean
from typing import Any

from report.names import dataset_order, shown
from report.records import Record, finite
from report.rows import Row, from_sweep, named_rows
from report.statistics import per_seed
from report.tables import Tree

Named = list[tuple[str, Row]]


def methods(tree: Tree, part: str, has: Callable[[Record], Any], only: list[str] | None = None) -> Named:
    """(label, row) of the rows for figure `part` that have a run with `has`; `only` keeps these labels or trainers."""
    named = from_sweep(tree.rows, tree.sweeps, part) or named_rows(tree.rows, tree.sweeps, part)
    there = [(label, row) for label, row in named if any(has(record) is not None for record in row.finished)]
    wanted = {name.casefold() for name in only or ()}
    return [(label, row) for label, row in there if not wanted or {label.casefold(), row.trainer.casefold()} & wanted]


def by_backbone(named: Named) -> list[tuple[str, Named]]:
    """The rows of each backbone: their numbers do not belong in one picture."""
    backbones = sorted({row.backbone for _, row in named})
    return [(one, [(label, row) for label, row in named if row.backbone == one]) for one in backbones]


def datasets_of(row: Row, has: Callable[[Record], Any]) -> set[str]:
    """Data sets on both halves of which the row has a finished run with `has`."""
    base, new = (
        {one.dataset for one in row.finished if one.subset == subset and has(one) is not None}
        for subset in ("base", "new")
    )
    return base & new


def common(named: Named, has: Callable[[Record], Any], figure: str) -> tuple[Named, list[str]]:
    """The rows that compare, and the data sets that all of them have on both halves.

    Those are the data sets that at least half as many rows have as the best covered one. Rows that lack any of them are
    left out and named on stderr.
    """
    having = [datasets_of(row, has) for _, row in named]
    counts = Counter(dataset for part in having for dataset in part)
    most = max(counts.values(), default=0)
    datasets = {dataset for dataset, count in counts.items() if 2 * count >= most}
    kept = [one for one, part in zip(named, having, strict=True) if part >= datasets and datasets]
    listed = ", ".join(map(shown, sorted(datasets, key=dataset_order)))
    for one in named:
        if one not in kept and datasets:
            print(f"{figure} leaves out {one[0]}: no runs on both halves of {listed}", file=sys.stderr)
    return kept, sorted(datasets, key=dataset_order)


def over_datasets(row: Row, datasets: list[str], subset: str, value: Callable[[Record], Any]) -> dict[int, float]:
    """Seed to the mean of `value` over the data sets, for the seeds that have all of them."""
    parts = [
        {seed: value(one) for seed, one in row.runs(dataset, subset).items() if value(one) is not None}
        for dataset in datasets
    ]
    return per_seed(fmean, *parts)


def where(datasets: list[str], backbone: str) -> str:
    """What a figure says it is of."""
    names = shown(datasets[0]) if len(datasets) == 1 else f"average of {len(datasets)} data sets"
    return f"{names}, {backbone}" if backbone else names


def true_probability(record: Record) -> float | None:
    """Mean probability of the true class, 0 to 1."""
    return finite(record.raw.get("mean_true_probability"))


def accuracy(record: Record) -> float | None:
    """Percent."""
    return record.accuracy


def discrepancy(record: Record) -> float | None:
    """Mean over blocks of the distance between the modalities' feature shift."""
    blocks = numbers(record.raw.get("discrepancy"))
    return fmean(blocks) if blocks else None


def shift(record: Record) -> dict[str, tuple[list[float], list[float]]] | None:
    """{"text": (mean a block, spread a block), "vision": ...}; None if none was measured."""
    return read_shift(record.raw.get("feature_shift"))


def read_shift(raw: Any) -> dict[str, tuple[list[float], list[float]]] | None:
    """A `feature_shift` of a record or of an epoch; None if it is none."""
    if not isinstance(raw, dict):
        return None
    found = {}
    for tower in ("text", "vision"):
        part = raw.get(tower)
        mean, spread = (numbers(part.get(key)) if isinstance(part, dict) else None for key in ("mean", "std"))
        if mean:
            found[tower] = (mean, spread if spread and len(spread) == len(mean) else [0.0] * len(mean))
    return found or None


def numbers(raw: Any) -> list[float] | None:
    """A list of finite numbers; None if it is anything else or empty."""
    values = [finite(value) for value in raw] if isinstance(raw, list) else []
    return values if values and None not in values else None
