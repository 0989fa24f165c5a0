"""Fig. 4: feature shift a block in either tower, mean and spread, and the accuracy beside it."""

from math import sqrt
from statistics import fmean
from typing import Any

from report.figures.data import Named, accuracy, by_backbone, common, methods, over_datasets, shift, where
from report.figures.style import SUBSETS, legend_below, line_style, subplots
from report.rows import Row
from report.statistics import Summary
from report.tables import Tree

NEEDS = "records with feature_shift on base and on new classes, such as those of IVLP, VPT, LPT and IVLP + L^fs"
SPEC = "fig4"


def draw(tree: Tree, only: list[str] | None = None) -> list[tuple[str, Any]]:
    """(file stem, figure) for each backbone."""
    found = []
    for backbone, named in by_backbone(methods(tree, "fig4", shift, only)):
        named, datasets = common(named, shift, "Fig. 4")
        if named:
            found.append(("fig4", picture(named, datasets, where(datasets, backbone))))
    return found


def profile(row: Row, datasets: list[str], subset: str, tower: str) -> tuple[list[float], list[float]] | None:
    """Mean over runs of the shift a block, and the spread over samples (root mean square of the runs' deviations)."""
    runs = [one for dataset in datasets for one in row.runs(dataset, subset).values()]
    parts = [part[tower] for part in map(shift, runs) if part and tower in part]
    if not parts or len({len(mean) for mean, _ in parts}) > 1:
        return None
    means, spreads = ([part[place] for part in parts] for place in (0, 1))
    return (
        [fmean(block) for block in zip(*means, strict=True)],
        [sqrt(fmean(value * value for value in block)) for block in zip(*spreads, strict=True)],
    )


def picture(named: Named, datasets: list[str], title: str) -> Any:
    """Rows: base and new classes; columns: text tower, vision tower, accuracy."""
    figure, axes = subplots(2, 3, 7.2, 4.6, width_ratios=(1, 1, 0.9), sharex="col", sharey="col")
    for line, subset in enumerate(("base", "new")):
        for column, tower in enumerate(("text", "vision")):
            axis = axes[line, column]
            lines(axis, named, datasets, subset, tower)
            axis.set_title(f"{tower} tower, {SUBSETS[subset][1]}")
            axis.set_xlabel("block" if line else "")
        axes[line, 0].set_ylabel("feature shift")
        accuracies(axes[line, 2], named, datasets, subset)
    for axis in axes[0, :2]:  # shared with the one below: only now is it known how high that goes
        axis.set_ylim(bottom=0)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    legend_below(figure, handles, labels)
    figure.suptitle(title, fontsize=9)
    return figure


def lines(axis: Any, named: Named, datasets: list[str], subset: str, tower: str) -> None:
    """A line a method, its spread over samples as a band."""
    deepest = 1
    for place, (label, row) in enumerate(named):
        found = profile(row, datasets, subset, tower)
        mean, spread = found or ([float("nan")], [0.0])  # an empty line keeps the method in the legend
        blocks = range(1, len(mean) + 1)
        deepest = max(deepest, len(mean))
        style = line_style(place)
        axis.plot(blocks, mean, label=label, **style)
        low, high = ([value + sign * width for value, width in zip(mean, spread, strict=True)] for sign in (-1, 1))
        axis.fill_between(blocks, [max(value, 0) for value in low], high, color=style["color"], alpha=0.15, linewidth=0)
    axis.set_xticks(range(1, deepest + 1, 1 if deepest < 10 else 2))


def accuracies(axis: Any, named: Named, datasets: list[str], subset: str) -> None:
    """A mark a method with its deviation over seeds, in the method's colour and in the order of the legend."""
    for place, (_, row) in enumerate(named):
        sum_ = Summary(over_datasets(row, datasets, subset, accuracy))
        if sum_.n:
            style = line_style(place) | {"linestyle": "none"}
            axis.errorbar(sum_.mean, place, xerr=sum_.std or 0, elinewidth=1, **style)
            axis.annotate(
                f"{sum_.mean:.1f}", (sum_.mean, place), (0, 5), textcoords="offset points", fontsize=7, ha="center"
            )
    axis.set_yticks(range(len(named)), [label for label, _ in named])
    axis.set_ylim(len(named) - 0.5, -0.7)
    axis.margins(x=0.2)
    axis.set_xlabel("accuracy, %" if subset == "new" else "")
    axis.set_title(SUBSETS[subset][1])
