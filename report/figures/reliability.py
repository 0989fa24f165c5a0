"""Reliability diagrams (accuracy against confidence), and base against new accuracy under a bias on base classes."""

from collections.abc import Iterator
from typing import Any

from report.figures.base_and_new import SUBSETS
from report.figures.data import by_backbone, comparisons, foremost, methods_with, numbers, setting
from report.figures.style import MOST, legend_below, line_style, subplots
from report.methods import MethodRuns
from report.metrics import number
from report.names import dataset_order, shown
from report.records import RunRecord, finite
from report.tables import Tree

METHODS = 6
"""Panels of one figure: what fits a page."""
Bins = list[tuple[int, float, float]]
"""Images, mean confidence and accuracy of each bin that has any."""


def reliability(record: RunRecord) -> Bins | None:
    """The record's reliability curve, if it has one."""
    raw = record.raw.get("reliability")
    columns = [raw.get(key) for key in ("count", "confidence", "accuracy")] if isinstance(raw, dict) else []
    if len(columns) != 3 or not all(isinstance(one, list) for one in columns) or len(set(map(len, columns))) != 1:
        return None
    found = [tuple(map(finite, row)) for row in zip(*columns, strict=True) if row[0]]
    fits = all(None not in row and row[0] > 0 and 0 <= row[1] <= 1 and 0 <= row[2] <= 1 for row in found)
    return [(int(n), sure, right) for n, sure, right in found] if found and fits else None


def pooled(runs: list[RunRecord]) -> Bins:
    """The bins of several runs together, weighed by their images."""
    sums: dict[int, list[float]] = {}
    for run in runs:
        for count, sure, right in reliability(run) or ():
            total = sums.setdefault(min(14, max(0, -int(-15 * sure // 1) - 1)), [0, 0.0, 0.0])
            for place, value in enumerate((count, count * sure, count * right)):
                total[place] += value
    return [(int(n), sure / n, right / n) for _, (n, sure, right) in sorted(sums.items())]


def draw(tree: Tree, only: list[str] | None = None) -> Iterator[tuple[str, Any]]:
    """(file stem, figure) for each backbone: a panel a method."""
    for backbone, methods, datasets in comparisons(tree, "Reliability", reliability, only):
        chosen = foremost(methods, datasets, METHODS)
        columns = min(3, len(chosen))
        rows = -(-len(chosen) // columns)
        figure, axes = subplots(rows, columns, 0.3 + 2.3 * columns, 0.8 + 2.4 * rows, sharex=True, sharey=True)
        for axis in axes.flat[len(chosen) :]:
            axis.set_visible(False)
        for place, (axis, method) in enumerate(zip(axes.flat, chosen, strict=False)):
            panel(axis, method, datasets)
            axis.xaxis.set_tick_params(labelbottom=place + columns >= len(chosen))
        for axis in axes[:, 0]:
            axis.set_ylabel("accuracy")
        for place in range(max(0, len(chosen) - columns), len(chosen)):
            axes.flat[place].set_xlabel("confidence")
        legend_below(figure, *axes[0, 0].get_legend_handles_labels())
        figure.suptitle(f"{setting(datasets, backbone)}: below the line overconfident; area = images", fontsize=9)
        yield "reliability", figure


def panel(axis: Any, method: MethodRuns, datasets: list[str]) -> None:
    """Base and new classes of one method; points as large as they have images."""
    axis.plot([0, 1], [0, 1], color="#777777", linewidth=0.8, linestyle=":")
    told = []
    for (subset, (colour, label, _)), marker in zip(SUBSETS.items(), ("o", "s"), strict=True):
        runs = [run for dataset in datasets for run in method.runs(dataset, subset).values()]
        bins = pooled(runs)
        if not bins:
            continue
        total = sum(count for count, *_ in bins)
        counts, sure, right = zip(*bins, strict=True)
        sizes = [12 + 260 * count / total for count in counts]
        axis.plot(sure, right, color=colour, linewidth=1)
        axis.scatter(sure, right, s=sizes, color=colour, marker=marker, alpha=0.75, linewidths=0, label=label)
        ece = method.average(datasets, subset, number("ece"))
        told += [f"{subset} {ece.mean:.1f}"] if ece.n else []
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.set_title(f"{method.label}\nECE: {', '.join(told)}", fontsize=8.5)


def draw_joint(tree: Tree, only: list[str] | None = None) -> Iterator[tuple[str, Any]]:
    """(file stem, figure) for each backbone and data set: base against new accuracy as a bias on base varies."""
    for backbone, methods in by_backbone(methods_with(tree, "joint", curve, only)):
        datasets = {one.dataset for method in methods for one in method.finished if curve(one)}
        for dataset in sorted(datasets, key=dataset_order):
            there = [method for method in methods if any(map(curve, method.runs(dataset, "joint").values()))]
            figure, axes = subplots(1, 1, 4.8, 4.4)
            axis = axes[0, 0]
            for place, method in enumerate(foremost(there, [dataset], MOST)):
                run = next(run for _, run in sorted(method.runs(dataset, "joint").items()) if curve(run))
                joint_line(axis, place, method, run, dataset)
            axis.set(xlabel="base accuracy among all classes, %", ylabel="new accuracy among all classes, %")
            axis.set(xlim=(0, None), ylim=(0, None))
            legend_below(figure, *axis.get_legend_handles_labels(), 2)
            figure.suptitle(f"{shown(dataset)}, {backbone}: large mark = no bias; first seed", fontsize=9)
            yield f"joint_{dataset}", figure


def curve(record: RunRecord) -> list[list[float]] | None:
    """The record's points of base against new accuracy."""
    joint = record.raw.get("joint")
    points = joint.get("curve") if isinstance(joint, dict) else None
    found = [numbers(point) for point in points] if isinstance(points, list) else []
    return found if found and all(point and len(point) == 2 for point in found) else None


def joint_line(axis: Any, place: int, method: MethodRuns, run: RunRecord, dataset: str) -> None:
    """A method's curve of one seed, its area over all seeds, and where the model itself stands on it."""
    style = line_style(place)
    area = method.scores(dataset, "joint", value=number("joint", "ausuc"))
    label = method.label + (f", AUSUC {area.mean:.1f}" if area.n else "")
    axis.plot(*zip(*curve(run), strict=True), **(style | {"marker": "", "linewidth": 1.2}))
    axis.plot([], [], label=label, **(style | {"markersize": 6}))
    at = [number("joint", key)(run) for key in ("base_accuracy", "new_accuracy")]
    if None not in at:
        axis.plot(*at, **(style | {"linestyle": "none", "markersize": 8}))
