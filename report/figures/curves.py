"""Training curves: cross-entropy, accuracy on training batches and feature shift after each epoch, from history.json.

Whole losses of different methods are sums of different terms; what they share is the cross-entropy.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from statistics import fmean, pstdev
from typing import Any

from report.figures.data import by_backbone, foremost, methods_with, read_shift
from report.figures.style import MOST, legend_below, line_style, subplots
from report.names import dataset_order, shown
from report.records import RunRecord, finite, read_json
from report.tables import Tree

Epochs = list[dict[str, Any]]
LAST = 1_000_000
"""Epochs that are drawn."""


@cache
def history(record: RunRecord) -> Epochs | None:
    """The epochs of a training run; None if there are none.

    A file that is damaged, or lacks the loss of an epoch, is left out and named on stderr.
    """
    file = record.path / "history.json"
    if record.mode != "train" or not file.exists():
        return None
    content = read_json(file)
    epochs = content if isinstance(content, list) and all(isinstance(one, dict) for one in content) else [{}]
    fault = "is damaged"
    if all(type(one.get("epoch")) is int and 0 <= one["epoch"] <= LAST for one in epochs):
        without = [one["epoch"] for one in epochs if one.get("losses") and loss(one) is None]
        fault = f"has no loss of epoch {without[0]}" if without else ""
    if fault:
        print(f"{file} {fault}, its curve is left out", file=sys.stderr)
    return None if fault else epochs or None


def loss(epoch: dict[str, Any]) -> float | None:
    """What is minimised; the sum of the parts where it is not kept."""
    parts = epoch.get("losses")
    parts = parts if isinstance(parts, dict) else {}
    values = [finite(value) for value in parts.values()]
    return finite(parts["loss"]) if "loss" in parts else sum(values) if values and None not in values else None


def cross_entropy(epoch: dict[str, Any]) -> float | None:
    """The cross-entropy, under the name its method gives it; the whole loss where it has no other part."""
    parts = epoch.get("losses")
    parts = parts if isinstance(parts, dict) else {}
    named = next((parts[name] for name in ("ce", "xe_loss") if name in parts), None)
    return finite(named) if named is not None else loss(epoch) if list(parts) == ["loss"] else None


def total_shift(epoch: dict[str, Any], tower: str) -> float | None:
    """The mean shift over the blocks of `tower`."""
    shift = read_shift(epoch.get("feature_shift"))
    return fmean(shift[tower][0]) if shift and tower in shift else None


PANELS = {
    "cross-entropy on training batches": cross_entropy,
    "accuracy on training batches, %": lambda epoch: finite(epoch.get("accuracy")),
    "text shift, mean over blocks": lambda epoch: total_shift(epoch, "text"),
    "vision shift, mean over blocks": lambda epoch: total_shift(epoch, "vision"),
}


def draw(tree: Tree, only: list[str] | None = None) -> Iterator[tuple[str, Any]]:
    """(file stem, figure) for each backbone, data set and class subset that was trained on."""
    for backbone, methods in by_backbone(methods_with(tree, "curves", history, only)):
        trained = {(one.dataset, one.subset) for method in methods for one in method.finished if history(one)}
        for dataset, subset in sorted(trained, key=lambda pair: (dataset_order(pair[0]), pair[1])):
            runs_of = {}
            for method in foremost(methods, [dataset], MOST):
                runs = [one for one in method.finished if (one.dataset, one.subset) == (dataset, subset)]
                runs_of[method] = {one.seed: history(one) for one in runs if history(one)}
            panels = {
                name: [(method.label, averaged(runs.values(), value)) for method, runs in runs_of.items() if runs]
                for name, value in PANELS.items()
            }
            panels = {name: curves for name, curves in panels.items() if any(curve for _, curve in curves)}
            classes = f"{subset} classes of " if subset != "all" else ""
            if panels:
                figure = picture(panels, f"{classes}{shown(dataset)}, {backbone}: mean over seeds, band ± deviation")
                yield f"curves_{dataset}_{subset}", figure


Curve = dict[int, tuple[float, float]]
"""Epoch to mean and deviation over seeds."""


def averaged(runs: Iterable[Epochs], value: Callable[[dict[str, Any]], float | None]) -> Curve:
    """Epoch to mean and population deviation over the runs that have it."""
    values = defaultdict(list)
    for run in runs:
        for epoch in run:
            if value(epoch) is not None:
                values[epoch["epoch"]].append(value(epoch))
    return {epoch: (fmean(numbers), pstdev(numbers)) for epoch, numbers in sorted(values.items())}


def picture(panels: dict[str, list[tuple[str, Curve]]], title: str) -> Any:
    """A panel for each quantity that any method has, with a curve for each method."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = subplots(rows, columns, 3.5 * columns, 0.9 + 2.4 * rows)
    handles: dict[tuple[int, str], Any] = {}
    for axis, (name, curves) in zip(axes.flat, panels.items(), strict=False):
        for place, (label, curve) in enumerate(curves):
            if curve:
                style = line_style(place)
                mean, spread = zip(*curve.values(), strict=True)
                handles[place, label] = axis.plot(list(curve), mean, **style)[0]
                low, high = ([m + sign * s for m, s in zip(mean, spread, strict=True)] for sign in (-1, 1))
                axis.fill_between(list(curve), low, high, color=style["color"], alpha=0.15, linewidth=0)
        axis.set_title(name)
        if "shift" in name:
            axis.set_ylim(bottom=0)
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    towers = [axis for axis, name in zip(axes.flat, panels, strict=False) if "shift" in name]
    for axis in towers[1:]:
        axis.sharey(towers[0])  # the towers are there to be compared
    for axis in towers[:1]:
        axis.set_ylim(0, max(other.dataLim.ymax for other in towers) * 1.05)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    legend_below(figure, list(handles.values()), [label for _, label in handles])
    figure.suptitle(title, fontsize=9)
    return figure
