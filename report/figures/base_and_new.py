"""Figs. 1 and 4: what prompts do on base and on new classes, averaged over data sets.

Fig. 1 is the probability of the true class and the accuracy; Fig. 4 the feature shift of each block in either tower.
"""

from collections.abc import Iterator
from math import sqrt
from statistics import fmean
from typing import Any

from report.figures.data import Reader, comparisons, foremost, setting, shift, true_probability
from report.figures.style import MOST, legend_below, line_style, subplots
from report.methods import MethodRuns, accuracy
from report.tables import Tree

SUBSETS = {"base": ("#0072B2", "base classes", ""), "new": ("#E69F00", "new classes", "//")}
"""Colour, name and hatch."""


# Fig. 1: probability of the true class


def draw_probability(tree: Tree, only: list[str] | None = None) -> Iterator[tuple[str, Any]]:
    """(file stem, figure) for each backbone."""
    for backbone, methods, datasets in comparisons(tree, 1, true_probability, only):
        figure, axes = subplots(1, 2, 7.0, 1.5 + 0.38 * len(methods), sharey=True)
        bars(axes[0, 0], methods, datasets, true_probability)
        axes[0, 0].set_xlabel("probability of the true class, %")
        bars(axes[0, 1], methods, datasets, accuracy)
        axes[0, 1].set_xlabel("accuracy, %")
        legend_below(figure, *axes[0, 0].get_legend_handles_labels())
        figure.suptitle(f"{setting(datasets, backbone)}: ± deviation over seeds", fontsize=9)
        yield "fig1", figure


def bars(axis: Any, methods: list[MethodRuns], datasets: list[str], value: Reader) -> None:
    """A pair of bars for each method, base above new, with the deviation over seeds."""
    places = range(len(methods))
    longest = 0.0
    for offset, (subset, (colour, label, hatch)) in zip((-0.2, 0.2), SUBSETS.items(), strict=True):
        scores = [method.average(datasets, subset, value) for method in methods]
        lengths = [one.mean if one.n else 0.0 for one in scores]
        spread = [one.std or 0.0 for one in scores]
        axis.barh(
            *([place + offset for place in places], lengths, 0.38),
            color=colour, hatch=hatch, edgecolor="white", linewidth=0.5, label=label,
        )  # fmt: skip
        ends = [length + width for length, width in zip(lengths, spread, strict=True)]
        longest = max(longest, *ends)
        axis.errorbar(lengths, [place + offset for place in places], xerr=spread, fmt="none", ecolor="#333333", lw=0.9)
        for place, length, end in zip(places, lengths, ends, strict=True):
            axis.text(end + 1, place + offset, f"{length:.1f}", va="center", fontsize=7)
    axis.set_yticks(list(places), [method.label for method in methods])
    axis.set_ylim(len(methods) - 0.5, -0.5)
    axis.set_xlim(0, min(108, 1.2 * longest + 2))
    axis.grid(axis="y", visible=False)


# Fig. 4: feature shift of each block


def draw_shift(tree: Tree, only: list[str] | None = None) -> Iterator[tuple[str, Any]]:
    """(file stem, figure) for each backbone. Rows: base, new classes; columns: text tower, vision tower, accuracy.

    Both towers have one scale: they are there to be compared.
    """
    for backbone, methods, datasets in comparisons(tree, 4, shift, only):
        methods = foremost(methods, datasets, MOST)
        figure, axes = subplots(2, 3, 7.2, 4.6, width_ratios=(1, 1, 0.9), sharex="col")
        first = axes[0, 0]
        for axis in (axes[0, 1], axes[1, 0], axes[1, 1]):
            axis.sharey(first)
        for row, subset in zip(axes, SUBSETS, strict=True):
            profiles(row[0], methods, datasets, subset, "text")
            profiles(row[1], methods, datasets, subset, "vision")
            accuracies(row[2], methods, datasets, subset)
            row[0].set_ylabel("feature shift")
        first.set_ylim(bottom=0)  # shared with the other three: only now is it known how high they go
        for axis in axes[1, :2]:
            axis.set_xlabel("block")
        legend_below(figure, *axes[0, 0].get_legend_handles_labels())
        figure.suptitle(f"{setting(datasets, backbone)}: band ± deviation over samples, bar over seeds", fontsize=9)
        yield "fig4", figure


def profile(method: MethodRuns, datasets: list[str], subset: str, tower: str) -> tuple[list[float], list[float]] | None:
    """Mean over runs of each block's shift, and the spread over samples (root mean square of the runs' deviations)."""
    runs = [one for dataset in datasets for one in method.runs(dataset, subset, dataset).values()]
    parts = [part[tower] for part in map(shift, runs) if part and tower in part]
    if not parts or len({len(mean) for mean, _ in parts}) > 1:
        return None
    means, spreads = ([part[place] for part in parts] for place in (0, 1))
    return (
        [fmean(block) for block in zip(*means, strict=True)],
        [sqrt(fmean(value * value for value in block)) for block in zip(*spreads, strict=True)],
    )


def profiles(axis: Any, methods: list[MethodRuns], datasets: list[str], subset: str, tower: str) -> None:
    """The shift of each method, its spread over samples as a band."""
    deepest = 1
    for place, method in enumerate(methods):
        found = profile(method, datasets, subset, tower)
        mean, spread = found or ([float("nan")], [0.0])  # an empty line keeps the method in the legend
        blocks = range(1, len(mean) + 1)
        deepest = max(deepest, len(mean))
        style = line_style(place)
        axis.plot(blocks, mean, label=method.label, **style)
        low, high = ([value + sign * width for value, width in zip(mean, spread, strict=True)] for sign in (-1, 1))
        axis.fill_between(blocks, [max(value, 0) for value in low], high, color=style["color"], alpha=0.15, linewidth=0)
    axis.set_xticks(range(1, deepest + 1, 1 if deepest < 10 else 2))
    axis.set_title(f"{tower} tower, {SUBSETS[subset][1]}")


def accuracies(axis: Any, methods: list[MethodRuns], datasets: list[str], subset: str) -> None:
    """Each method's accuracy with its deviation over seeds, in its colour and in the order of the legend."""
    for place, method in enumerate(methods):
        scores = method.average(datasets, subset)
        if scores.n:
            style = line_style(place) | {"linestyle": "none"}
            axis.errorbar(scores.mean, place, xerr=scores.std or 0, elinewidth=1, **style)
            beside = {"textcoords": "offset points", "fontsize": 7, "ha": "center"}
            axis.annotate(f"{scores.mean:.1f}", (scores.mean, place), (0, 5), **beside)
    axis.set_yticks(range(len(methods)), [method.label for method in methods])
    axis.set_ylim(len(methods) - 0.5, -0.7)
    axis.margins(x=0.2)
    axis.set_xlabel("accuracy, %" if subset == "new" else "")
    axis.set_title(SUBSETS[subset][1])
