"""Fig. 3: how far apart the two towers shift, against what is gained over zero-shot CLIP, base and new apart."""

from collections.abc import Iterator
from typing import Any

from report.correlation import Correlation, spearman
from report.figures.data import comparisons, datasets_of, setting
from report.figures.style import COLOURS, MARKERS, legend_below, subplots
from report.methods import MethodRuns, accuracy
from report.model import Scores
from report.overfit import discrepancy
from report.tables import Tree

Point = tuple[str, str, Scores, Scores]
"""Method, subset, discrepancy, gain."""


def draw(tree: Tree, only: list[str] | None = None) -> Iterator[tuple[str, Any]]:
    """(file stem, figure) for each backbone."""
    for backbone, methods, datasets in comparisons(tree, 3, discrepancy, only):
        zero = [one for one in tree.methods if one.trainer == "ZeroshotCLIP" and one.backbone == backbone]
        datasets = [one for one in datasets if zero and one in datasets_of(zero[0], accuracy)]
        if datasets and len(methods) > 1:
            yield "fig3", scatter(points(methods, zero[0], datasets), setting(datasets, backbone))


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


def correlation(found: list[Point], subset: str) -> Correlation | None:
    """Spearman's correlation of the methods' means on one class subset."""
    pairs = [(across.mean, gain.mean) for _, part, across, gain in found if part == subset]
    return spearman([one for one, _ in pairs], [other for _, other in pairs])


def scatter(found: list[Point], title: str) -> Any:
    """A panel for base and one for new classes, a point a method, with the correlation of its panel."""
    labels = list(dict.fromkeys(label for label, *_ in found))
    figure, axes = subplots(1, 2, 7.2, 3.2 + 0.18 * ((len(labels) + 4) // 5), sharex=True)
    for axis, subset in zip(axes[0], ("base", "new"), strict=True):
        axis.axhline(0, color="#555555", linewidth=0.8)
        for label, part, across, gain in found:
            if part != subset:
                continue
            place = labels.index(label)
            axis.errorbar(
                *(across.mean, gain.mean, gain.std or 0, across.std or 0),
                fmt=MARKERS[place % len(MARKERS)], color=COLOURS[place % len(COLOURS)], markersize=6,
                elinewidth=0.8, label=label,
            )  # fmt: skip
        told = str(correlation(found, subset) or "too few points for a correlation")
        axis.set_title(f"{subset} classes\n" + told.replace(", 95 % interval ", "\n95 % interval "), fontsize=8.5)
        axis.set_xlabel("discrepancy of the towers' shift")
    axes[0, 0].set_ylabel("gain over zero-shot CLIP, points")
    legend_below(figure, *axes[0, 0].get_legend_handles_labels(), 5)
    figure.suptitle(f"{title}: ± deviation over seeds", fontsize=9)
    return figure
