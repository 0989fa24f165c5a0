"""Fig. 3: how far apart the two towers shift, against what is gained over zero-shot CLIP."""

from typing import Any

import numpy as np

from report.figures.data import (
    Named,
    accuracy,
    by_backbone,
    common,
    datasets_of,
    discrepancy,
    methods,
    over_datasets,
    where,
)
from report.figures.style import COLOURS, MARKERS, legend_below, subplots
from report.statistics import Summary
from report.tables import Tree

NEEDS = "records with discrepancy on base and on new classes of at least two methods, and zero-shot CLIP on the same"
SPEC = "table1"


def draw(tree: Tree, only: list[str] | None = None) -> list[tuple[str, Any]]:
    """(file stem, figure) for each backbone."""
    found = []
    for backbone, named in by_backbone(methods(tree, "fig3", discrepancy, only)):
        named = [(label, row) for label, row in named if not row.zero_shot]
        zero = [row for row in tree.rows if row.trainer == "ZeroshotCLIP" and row.backbone == backbone]
        named, datasets = common(named, discrepancy, "Fig. 3")
        datasets = [one for one in datasets if zero and one in datasets_of(zero[0], accuracy)]
        if datasets and len(named) > 1:
            found.append(("fig3", picture(points(named, zero[0], datasets), where(datasets, backbone))))
    return found


def points(named: Named, zero: Any, datasets: list[str]) -> list[tuple[str, str, Summary, Summary]]:
    """(method, subset, discrepancy, gain in points) over seeds; zero-shot CLIP stands still whatever the seed."""
    found = []
    for label, row in named:
        for subset in ("base", "new"):
            start = Summary(over_datasets(zero, datasets, subset, accuracy)).mean
            across = over_datasets(row, datasets, subset, discrepancy)
            gain = {seed: value - start for seed, value in over_datasets(row, datasets, subset, accuracy).items()}
            if across and gain:
                found.append((label, subset, Summary(across), Summary(gain)))
    return found


def correlation(found: list[tuple[str, str, Summary, Summary]]) -> float | None:
    """Pearson's r over the points; None below three points or where one axis does not vary."""
    across, gain = (np.array([point[place].mean for point in found]) for place in (2, 3))
    if len(found) < 3 or np.ptp(across) == 0 or np.ptp(gain) == 0:
        return None
    return float(np.corrcoef(across, gain)[0, 1])


def picture(found: list[tuple[str, str, Summary, Summary]], title: str) -> Any:
    """One point a method and subset: filled on base, hollow on new classes."""
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
