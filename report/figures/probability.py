"""Fig. 1: what prompts do to the probability of the true class and to accuracy, on base and on new classes."""

from typing import Any

from report.figures.data import accuracy, by_backbone, common, methods, over_datasets, true_probability, where
from report.figures.style import SUBSETS, legend_below, subplots
from report.statistics import Summary
from report.tables import Tree

NEEDS = "records with mean_true_probability on base and on new classes, of zero-shot CLIP and of CoOp"
SPEC = "fig1"


def draw(tree: Tree, only: list[str] | None = None) -> list[tuple[str, Any]]:
    """(file stem, figure) for each backbone."""
    found = []
    for backbone, named in by_backbone(methods(tree, "fig1", true_probability, only)):
        named, datasets = common(named, true_probability, "Fig. 1")
        if named:
            figure, axes = subplots(1, 2, 7.0, 1.5 + 0.38 * len(named), sharey=True)
            percent = {"probability of the true class, %": lambda one: 100 * true_probability(one)}
            panels = percent | {"accuracy, %": accuracy}
            for axis, (title, value) in zip(axes[0], panels.items(), strict=True):
                bars(axis, named, datasets, value)
                axis.set_xlabel(title)
            handles, labels = axes[0, 0].get_legend_handles_labels()
            legend_below(figure, handles, labels)
            figure.suptitle(where(datasets, backbone), fontsize=9)
            found.append(("fig1", figure))
    return found


def bars(axis: Any, named: list, datasets: list[str], value: Any) -> None:
    """A pair of bars a method, base above new, with the deviation over seeds."""
    places = range(len(named))
    longest = 0.0
    for offset, (subset, (colour, label, hatch)) in zip((-0.2, 0.2), SUBSETS.items(), strict=True):
        sums = [Summary(over_datasets(row, datasets, subset, value)) for _, row in named]
        lengths = [one.mean if one.n else 0.0 for one in sums]
        spread = [one.std or 0.0 if one.n else 0.0 for one in sums]
        axis.barh(
            *([place + offset for place in places], lengths, 0.38),
            color=colour, hatch=hatch, edgecolor="white", linewidth=0.5, label=label,
        )  # fmt: skip
        ends = [length + spread for length, spread in zip(lengths, spread, strict=True)]
        longest = max(longest, *ends)
        axis.errorbar(lengths, [place + offset for place in places], xerr=spread, fmt="none", ecolor="#333333", lw=0.9)
        for place, length, end in zip(places, lengths, ends, strict=True):
            axis.text(end + 1, place + offset, f"{length:.1f}", va="center", fontsize=7)
    axis.set_yticks(list(places), [label for label, _ in named])
    axis.set_ylim(len(named) - 0.5, -0.5)
    axis.set_xlim(0, min(108, 1.2 * longest + 2))
    axis.grid(axis="y", visible=False)
