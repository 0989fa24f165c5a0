"""Training curves: loss, accuracy on training batches and feature shift, an epoch a point, from history.json."""

from statistics import fmean
from typing import Any

from report.figures.data import by_backbone, methods, read_shift
from report.figures.style import legend_below, line_style, subplots
from report.names import dataset_order, shown
from report.records import Record, finite, read_json
from report.tables import Tree

NEEDS = "training runs with history.json"
SPEC = "table1"
Curve = dict[int, float]


def history(record: Record) -> list[dict[str, Any]] | None:
    """The epochs of a training run; None if there are none."""
    content = read_json(record.path / "history.json") if record.mode == "train" else None
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        return None
    return [one for one in content if isinstance(one.get("epoch"), int)] or None


def loss(epoch: dict[str, Any]) -> float | None:
    """What is minimised; the sum of the parts where it is not kept."""
    parts = epoch.get("losses")
    parts = parts if isinstance(parts, dict) else {}
    values = [finite(value) for value in parts.values()]
    return finite(parts.get("loss")) if "loss" in parts else sum(values) if values and None not in values else None


def total_shift(tower: str) -> Any:
    """A reader of the mean shift over the blocks of `tower`."""

    def value(epoch: dict[str, Any]) -> float | None:
        shift = read_shift(epoch.get("feature_shift"))
        return fmean(shift[tower][0]) if shift and tower in shift else None

    return value


PANELS = {
    "loss": loss,
    "accuracy on training batches, %": lambda epoch: finite(epoch.get("accuracy")),
    "text shift, mean over blocks": total_shift("text"),
    "vision shift, mean over blocks": total_shift("vision"),
}


def draw(tree: Tree, only: list[str] | None = None) -> list[tuple[str, Any]]:
    """(file stem, figure) for each backbone, data set and class subset that was trained on."""
    found = []
    for backbone, named in by_backbone(methods(tree, "curves", history, only)):
        trained = {(one.dataset, one.subset) for _, row in named for one in row.finished if history(one)}
        for dataset, subset in sorted(trained, key=lambda pair: (dataset_order(pair[0]), pair[1])):
            curves = {}
            for label, row in named:
                runs = [history(one) for one in row.runs(dataset, subset).values()]
                curves[label] = [epochs for epochs in runs if epochs]
            classes = f"{subset} classes of " if subset != "all" else ""
            figure = picture(
                {name: runs for name, runs in curves.items() if runs}, f"{classes}{shown(dataset)}, {backbone}"
            )
            found.append((f"curves_{dataset}_{subset}", figure))
    return found


def picture(curves: dict[str, list[list[dict[str, Any]]]], title: str) -> Any:
    """A panel a quantity that any method has; a line a method: the mean over seeds."""
    panels = {name: {label: averaged(runs, value) for label, runs in curves.items()} for name, value in PANELS.items()}
    panels = {name: lines for name, lines in panels.items() if any(lines.values())}
    columns = min(2, len(panels)) or 1
    lines_of = -(-len(panels) // columns)
    figure, axes = subplots(lines_of, columns, 3.5 * columns, 0.9 + 2.4 * lines_of)
    handles: dict[str, Any] = {}
    for axis, (name, lines) in zip(axes.flat, panels.items(), strict=False):
        for place, (label, curve) in enumerate(lines.items()):
            if curve:
                handles[label] = axis.plot(list(curve), list(curve.values()), **line_style(place))[0]
        axis.set_title(name)
        axis.set_ylim(bottom=0)
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    legend_below(figure, list(handles.values()), list(handles))
    figure.suptitle(f"{title}: mean over seeds", fontsize=9)
    return figure


def averaged(runs: list[list[dict[str, Any]]], value: Any) -> Curve:
    """Epoch to mean over the runs that have it."""
    values: dict[int, list[float]] = {}
    for run in runs:
        for epoch in run:
            if value(epoch) is not None:
                values.setdefault(epoch["epoch"], []).append(value(epoch))
    return {epoch: fmean(numbers) for epoch, numbers in sorted(values.items())}
