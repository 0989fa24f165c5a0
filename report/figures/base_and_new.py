"""Figs. 1, 3 and 4: what prompts do on base and on new classes, averaged over data sets.

Fig. 1 is the probability of the true class and the accuracy; Fig. 3 how far apart the two towers shift, against what
is gained over zero-shot CLIP; Fig. 4 the feature shift of each block in either tower.
"""

from collections.abc import Iterator
from math import sqrt
from statistics import fmean
from typing import Any

import numpy as np

from report.figures.data import Reader, comparisons, datasets_of, discrepancy, setting, shift, true_probability
from report.figures.style import COLOURS, MARKERS, legend_below, line_style, subplots
from report.methods import MethodRuns, accuracy
from report.model import Scores
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
        figure.suptitle(setting(datasets, backbone), fontsize=9)
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


# Fig. 3: discrepancy of the towers' shift


def draw_discrepancy(tree: Tree, only: list[str] | None = None) -> Iterator[tuple[str, Any]]:
    """(file stem, figure) for each backbone."""
    for backbone, methods, datasets in comparisons(tree, 3, discrepancy, only):
        zero = [one for one in tree.methods if one.trainer == "ZeroshotCLIP" and one.backbone == backbone]
        datasets = [one for one in datasets if zero and one in datasets_of(zero[0], accuracy)]
        if datasets and len(methods) > 1:
            yield "fig3", scatter(points(methods, zero[0], datasets), setting(datasets, backbone))


Point = tuple[str, str, Scores, Scores]
"""Method, subset, discrepancy, gain."""


def points(methods: list[MethodRuns], zero: MethodRuns, datasets: list[str]) -> list[Point]:
    """The points over seeds; zero-shot CLIP is the same whatever the seed."""
    found = []
    for method in methods:
        for subset in ("base", "new"):
            start, end = zero.average(datasets, subset), method.average(datasets, subset)
            across = method.average(datasets, subset, discrepancy)
            if start.n and end.n and across.n:
                gain = Scores({seed: value - start.mean for seed, value in end.values.items()})
                found.append((method.label, subset, across, gain))
    return found


def correlation(found: list[Point]) -> float | None:
    """Pearson's r over the points; None below three points or where one axis does not vary."""
    across, gain = (np.array([point[place].mean for point in found]) for place in (2, 3))
    if len(found) < 3 or np.ptp(across) == 0 or np.ptp(gain) == 0:
        return None
    return float(np.corrcoef(across, gain)[0, 1])


def scatter(found: list[Point], title: str) -> Any:
    """One point for each method and subset: filled on base, hollow on new classes."""
    labels = list(dict.fromkeys(label for label, *_ in found))
    figure, axes = subplots(1, 1, 4.6, 3.6 + 0.18 * ((len(labels) + 4) // 3))
    axis = axes[0, 0]
    axis.axhline(0, color="#555555", linewidth=0.8)
    for label, subset, across, gain in found:
        place = labels.index(label)
        colour = COLOURS[place % len(COLOURS)]
        axis.errorbar(
            *(across.mean, gain.mean, gain.std or 0, across.std or 0),
            fmt=MARKERS[place % len(MARKERS)], color=colour, markersize=7, elinewidth=0.8,
            markerfacecolor=colour if subset == "base" else "white", label=label if subset == "base" else None,
        )  # fmt: skip
    handles, names = axis.get_legend_handles_labels()
    for face, name in (("#777777", "base classes"), ("white", "new classes")):
        handles.append(axis.plot([], [], "o", color="#777777", markerfacecolor=face)[0])
        names.append(name)
    legend_below(figure, handles, names, 3)
    r = correlation(found)
    told = f"Pearson's r = {r:.2f}, {len(found)} points" if r is not None else f"{len(found)} points"
    axis.set_title(f"{title}\n{told}")
    axis.set_xlabel("inter-modal discrepancy of feature shift, mean over blocks")
    axis.set_ylabel("gain over zero-shot CLIP, points")
    return figure


# Fig. 4: feature shift of each block


def draw_shift(tree: Tree, only: list[str] | None = None) -> Iterator[tuple[str, Any]]:
    """(file stem, figure) for each backbone. Rows: base, new classes; columns: text tower, vision tower, accuracy."""
    for backbone, methods, datasets in comparisons(tree, 4, shift, only):
        figure, axes = subplots(2, 3, 7.2, 4.6, width_ratios=(1, 1, 0.9), sharex="col", sharey="col")
        for row, subset in zip(axes, SUBSETS, strict=True):
            profiles(row[0], methods, datasets, subset, "text")
            profiles(row[1], methods, datasets, subset, "vision")
            accuracies(row[2], methods, datasets, subset)
            row[0].set_ylabel("feature shift")
        for top, bottom in zip(axes[0, :2], axes[1, :2], strict=True):
            top.set_ylim(bottom=0)  # shared with the one below: only now is it known how high that goes
            bottom.set_xlabel("block")
        legend_below(figure, *axes[0, 0].get_legend_handles_labels())
        figure.suptitle(setting(datasets, backbone), fontsize=9)
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
