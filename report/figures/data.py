"""What figures draw: numbers of methods, averaged over data sets per seed."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from report.methods import MethodRuns, listed, listed_only
from report.model import combine, harmonic_mean
from report.names import dataset_order, shown
from report.records import RunRecord, finite
from report.tables import Tree

Reader = Callable[[RunRecord], Any]
"""A number, or more, of a record; None if it has none."""


def methods_with(tree: Tree, part: str, value: Reader, only: list[str] | None = None) -> list[MethodRuns]:
    """The methods for figure `part` that have a run with `value`; `only` keeps these labels or trainers."""
    methods = listed_only(tree.methods, tree.sweeps, part) or listed(tree.methods, tree.sweeps, part)
    there = [method for method in methods if any(value(record) is not None for record in method.finished)]
    wanted = {name.casefold() for name in only or ()}
    return [one for one in there if not wanted or {one.label.casefold(), one.trainer.casefold()} & wanted]


def by_backbone(methods: list[MethodRuns]) -> list[tuple[str, list[MethodRuns]]]:
    """The methods of each backbone: their numbers do not belong in one picture."""
    backbones = sorted({method.backbone for method in methods})
    return [(backbone, [one for one in methods if one.backbone == backbone]) for backbone in backbones]


def datasets_of(method: MethodRuns, value: Reader) -> set[str]:
    """Data sets on both halves of which the method has a finished run with `value`."""
    base, new = (
        {one.dataset for one in method.finished if one.subset == subset and value(one) is not None}
        for subset in ("base", "new")
    )
    return base & new


def comparisons(
    tree: Tree, figure: int | str, value: Reader, only: list[str] | None
) -> Iterator[tuple[str, list[MethodRuns], list[str]]]:
    """For each backbone the methods that compare, and the data sets that all of them have on both halves.

    Those are the data sets that at least half as many methods have as the best covered one. Methods that lack any of
    them are left out and named on stderr.
    """
    name = f"Fig. {figure}" if isinstance(figure, int) else figure
    for backbone, methods in by_backbone(methods_with(tree, f"fig{figure}", value, only)):
        having = {method: datasets_of(method, value) for method in methods}
        counts = Counter(dataset for datasets in having.values() for dataset in datasets)
        common = {dataset for dataset, count in counts.items() if 2 * count >= max(counts.values())}
        datasets = sorted(common, key=dataset_order)
        for method in methods if common else ():
            if not having[method] >= common:
                halves = ", ".join(map(shown, datasets))
                print(f"{name} leaves out {method.label}: no runs on both halves of {halves}", file=sys.stderr)
        if common:
            yield backbone, [method for method in methods if having[method] >= common], datasets


def foremost(methods: list[MethodRuns], datasets: list[str], most: int) -> list[MethodRuns]:
    """At most `most` of the methods, in their order: RESTORE's own, zero-shot CLIP, then those of the highest H.

    More curves than that cannot be told apart in one panel; `--methods` chooses others.
    """

    def rank(method: MethodRuns) -> tuple[bool, bool, float]:
        scores = combine(harmonic_mean, *(method.average(datasets, subset) for subset in ("base", "new")))
        ours = method.trainer.startswith("RESTORE")
        return not ours, method.trainer != "ZeroshotCLIP", -(scores.mean if scores.n else 0.0)

    kept = sorted(methods, key=rank)[:most]
    return [method for method in methods if method in kept]


def setting(datasets: list[str], backbone: str) -> str:
    """What a figure says it is of."""
    names = shown(datasets[0]) if len(datasets) == 1 else f"average of {len(datasets)} data sets"
    return f"{names}, {backbone}" if backbone else names


def true_probability(record: RunRecord) -> float | None:
    """Mean probability of the true class in percent."""
    value = finite(record.raw.get("mean_true_probability"))
    return 100 * value if value is not None and 0 <= value <= 1 else None


def shift(record: RunRecord) -> dict[str, tuple[list[float], list[float]]] | None:
    """{"text": (mean of each block, spread of each block), "vision": ...}; None if none was measured."""
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
