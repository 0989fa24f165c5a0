"""Which classes are taken for which: the commonest mistakes of all methods, and how often each method makes them."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from report.figures.data import by_backbone, foremost, methods_with
from report.figures.style import MOST, subplots
from report.methods import MethodRuns
from report.names import dataset_order, shown
from report.predictions import predictions
from report.records import RunRecord
from report.tables import Tree

PAIRS = 10
"""Pairs of classes in each panel."""
LONGEST = 42
"""Letters of a pair's names."""


def told(record: RunRecord) -> bool | None:
    """Whether a run on base or new classes tells its predictions; None if not."""
    return True if record.subset in ("base", "new") and predictions(record) else None


def confusions(method: MethodRuns, dataset: str, subset: str) -> dict[tuple[str, str], float]:
    """(true, predicted) class to the share of the true class's images in percent, mean over seeds."""
    shares: Counter[tuple[str, str]] = Counter()
    runs = [run for run in method.runs(dataset, subset).values() if told(run)]
    for run in runs:
        found, names = predictions(run), [str(name) for name in run.raw["classnames"]]
        images = Counter(found.labels)
        for (label, other), count in Counter(zip(found.labels, found.predicted, strict=True)).items():
            if label != other:
                shares[names[label], names[other]] += 100 * count / images[label] / len(runs)
    return dict(shares)


def draw(tree: Tree, only: list[str] | None = None) -> Iterator[tuple[str, Any]]:
    """(file stem, figure) for each backbone and data set: base classes above, new ones below."""
    for backbone, methods in by_backbone(methods_with(tree, "confusion", told, only)):
        datasets = {one.dataset for method in methods for one in method.finished if told(one)}
        for dataset in sorted(datasets, key=dataset_order):
            chosen = foremost(methods, [dataset], MOST)
            tables = {subset: [confusions(method, dataset, subset) for method in chosen] for subset in ("base", "new")}
            tables = {subset: found for subset, found in tables.items() if any(found)}
            if tables:
                labels = [method.label for method in chosen]
                yield f"confusion_{dataset}", picture(tables, labels, f"{shown(dataset)}, {backbone}")


def picture(tables: dict[str, list[dict[tuple[str, str], float]]], labels: list[str], title: str) -> Any:
    """A panel for each class subset: its commonest pairs, the share of each method as a number on a shade."""
    figure, axes = subplots(len(tables), 1, 7.2, 1.3 + 0.24 * PAIRS * len(tables) + 0.4 * (len(tables) - 1))
    for axis, (subset, found) in zip(axes[:, 0], tables.items(), strict=True):
        total: Counter[tuple[str, str]] = Counter()
        for one in found:
            total.update(one)
        pairs = sorted(total, key=lambda pair: (-total[pair], pair))[:PAIRS]
        shares = np.array([[one.get(pair, 0.0) for one in found] for pair in pairs])
        axis.imshow(shares, cmap="Blues", aspect="auto", vmin=0, vmax=max(shares.max(), 1) * 1.7)
        for place in np.ndindex(shares.shape):
            axis.text(place[1], place[0], f"{shares[place]:.0f}", ha="center", va="center", fontsize=7)
        axis.set_yticks(range(len(pairs)), [named(*pair) for pair in pairs])
        axis.set_xticks(range(len(labels)), [label.replace(", ", ",\n") for label in labels], fontsize=7)
        axis.set_title(f"{subset} classes")
        axis.grid(False)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    figure.suptitle(f"{title}: true → predicted, % of the true class's images, mean over seeds", fontsize=9)
    return figure


def named(true: str, predicted: str) -> str:
    """The pair in words, each name cut where it is too long."""
    half = LONGEST // 2
    return " → ".join(name if len(name) <= half else f"{name[: half - 1]}…" for name in (true, predicted))
