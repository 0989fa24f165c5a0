"""How much a method gains on what it was trained for and loses elsewhere: accuracy, calibration, probability, shift.

Everything is the change from zero-shot CLIP with the same backbone on the same images, averaged over the data sets that
both have, per seed.
"""

from collections import defaultdict
from collections.abc import Callable
from statistics import fmean
from typing import Any

from report.base2new import SUBSETS, settings
from report.correlation import spearman
from report.methods import MethodRuns, accuracy, listed
from report.metrics import number
from report.model import Block, Cell, Scores, Table, TableRow
from report.names import dataset_order, shown
from report.records import RunRecord, finite, read_json
from report.tables import Tree

Reader = Callable[[RunRecord], float | None]
EPOCHS = 5
"""Epochs at most that are shown."""


def discrepancy(record: RunRecord) -> float | None:
    """Mean over blocks of the distance between the towers' shift; None of what has no prompts and shifts nothing, whose
    zero would pass for a measurement."""
    return mean_of(record.raw.get("discrepancy")) or None


def mean_of(raw: Any) -> float | None:
    """The mean of a list of numbers; None if it is anything else."""
    values = [finite(value) for value in raw] if isinstance(raw, list) else []
    return fmean(values) if values and None not in values else None


CHANGES: list[tuple[str, Reader, int]] = [
    ("accuracy", accuracy, 0),
    ("ECE", number("ece"), 0),
    ("p(true)", number("mean_true_probability", scale=100), 0),
]
"""What changes, and digits after the point beyond those of percentages."""


def tables(tree: Tree) -> list[Table]:
    """A table for each backbone and number of shots that has zero-shot CLIP and another method on both halves."""
    found = []
    for setting, members in settings(tree.methods):
        zero = next((one for one in members if one.trainer == "ZeroshotCLIP"), None)
        others = [one for one in listed(members, tree.sweeps, "table1") if not one.zero_shot]
        if zero and others:
            datasets = comparable(zero, others)
            rows = [row for row in (row_of(one, zero, datasets) for one in others) if row]
            if rows:
                found.append(table_of(rows, zero, members, datasets, setting))
    return found


def comparable(zero: MethodRuns, others: list[MethodRuns]) -> list[str]:
    """The data sets on both halves of which zero-shot CLIP was tested, and any other method."""
    names = {one.dataset for one in zero.finished}
    there = [
        name
        for name in names
        if all(zero.scores(name, part).n and any(one.scores(name, part).n for one in others) for part in SUBSETS)
    ]
    return sorted(there, key=dataset_order)


def change(method: MethodRuns, zero: MethodRuns, datasets: list[str], part: str, read: Reader) -> Scores:
    """The method's number less zero-shot CLIP's, per seed."""
    start, end = zero.average(datasets, part, read), method.average(datasets, part, read)
    if not (start.n and end.n):
        return Scores({})
    return Scores({seed: value - start.mean for seed, value in end.values.items()}, end.sources)


def row_of(method: MethodRuns, zero: MethodRuns, datasets: list[str]) -> TableRow | None:
    """All changes of one method and its discrepancy; None if it has neither half."""
    cells = []
    for _, read, digits in CHANGES:
        for part in SUBSETS:
            reason = method.reason(datasets, [part])
            scores = change(method, zero, datasets, part, read)
            cells.append(Cell(scores, reason="" if scores.n else reason, decimals=digits, signed=True))
    for part in SUBSETS:
        scores = method.average(datasets, part, discrepancy)
        cells.append(Cell(scores, reason="" if scores.n else method.reason(datasets, [part]), decimals=2))
    counts = sorted({cell.scores.n for cell in cells[:2] if not cell.reason})
    return TableRow(method, cells, "-".join(map(str, counts))) if any(cell.scores.n for cell in cells[:2]) else None


def table_of(
    rows: list[TableRow], zero: MethodRuns, members: list[MethodRuns], datasets: list[str], setting: str
) -> Table:
    """The changes, what is correlated, and the course over epochs where it is known."""
    title = shown(datasets[0]) if len(datasets) == 1 else f"Average over {len(datasets)} data sets"
    columns = [f"{name} {part}" for name, *_ in CHANGES for part in SUBSETS]
    columns += [f"discrepancy {part}" for part in SUBSETS]
    blocks = [Block(title, columns, rows, ranked=False)]
    blocks += over_epochs([row.method for row in rows], zero, members, datasets)
    notes = [
        "Change from zero-shot CLIP in points: accuracy, ECE (below 0 is better calibrated), probability of the true "
        "class; discrepancy: distance between the towers' feature shift, mean over blocks.",
        *correlations(rows),
    ]
    return Table(None, "Overfit to base classes", setting, blocks, notes)


def correlations(rows: list[TableRow]) -> list[str]:
    """Spearman's correlation of the methods' discrepancy with what they gain, a sentence for each class subset."""
    told = []
    for place, part in enumerate(SUBSETS):
        pairs = [(row.cells[6 + place].scores, row.cells[place].scores) for row in rows]
        pairs = [(one.mean, other.mean) for one, other in pairs if one.n and other.n]
        found = spearman([one for one, _ in pairs], [other for _, other in pairs])
        what = str(found) if found else "too few methods for a correlation"
        told.append(f"Discrepancy against gain in accuracy, {part} classes: {what}.")
    return told


# ---- over epochs ----


def over_epochs(
    methods: list[MethodRuns], zero: MethodRuns, members: list[MethodRuns], datasets: list[str]
) -> list[Block]:
    """The discrepancy in training, from history.json; gains of checkpoints of other epochs, where they were tested."""
    blocks = []
    courses = {method: course(method, datasets) for method in methods}
    epochs = some(sorted({epoch for found in courses.values() for epoch in found}))
    rows = [
        TableRow(method, [Cell(found.get(epoch, Scores({})), decimals=2) for epoch in epochs], seeds_of(found))
        for method, found in courses.items()
        if found
    ]
    if rows and len(epochs) > 1:
        columns = [f"epoch {epoch}" for epoch in epochs]
        blocks.append(Block("Discrepancy in training", columns, rows, ranked=False))
    for part in SUBSETS:
        tested = {method: gains(method, zero, members, datasets, part) for method in methods}
        tested = {method: found for method, found in tested.items() if len(found) > 1}
        epochs = some(sorted({epoch for found in tested.values() for epoch in found}))
        rows = [
            TableRow(method, [Cell(found.get(epoch, Scores({})), signed=True) for epoch in epochs], seeds_of(found))
            for method, found in tested.items()
        ]
        if rows:
            columns = [f"epoch {epoch}" for epoch in epochs]
            blocks.append(Block(f"Gain on {part} classes", columns, rows, ranked=False))
    return blocks


def seeds_of(found: dict[int, Scores]) -> str:
    """How many seeds stand behind a course."""
    counts = sorted({scores.n for scores in found.values()})
    return f"{counts[0]}-{counts[-1]}" if len(counts) > 1 else str(counts[0])


def some(epochs: list[int]) -> list[int]:
    """At most EPOCHS of them, the first and the last among them."""
    last = len(epochs) - 1
    count = min(EPOCHS, len(epochs))
    return sorted({epochs[round(place * last / max(1, count - 1))] for place in range(count)})


def course(method: MethodRuns, datasets: list[str]) -> dict[int, Scores]:
    """Epoch to the discrepancy of the shift then, of trainings on base classes of the first data set."""
    values: dict[int, dict[int, float]] = defaultdict(dict)
    runs = {run.seed: run for run in method.finished if (run.dataset, run.part) == (datasets[0], "base")}
    for seed, run in runs.items():
        entries = read_json(run.path / "history.json") if run.mode == "train" else None
        for entry in entries if isinstance(entries, list) else ():
            found = of_epoch(entry)
            if found:
                values[found[0]][seed] = found[1]
    return {epoch: Scores(found, {seed: (runs[seed],) for seed in found}) for epoch, found in sorted(values.items())}


def of_epoch(entry: Any) -> tuple[int, float] | None:
    """(epoch, discrepancy) of an entry of a history; None if it has none."""
    shift = entry.get("feature_shift") if isinstance(entry, dict) else None
    towers = [shift.get(name) for name in ("text", "vision")] if isinstance(shift, dict) else []
    means = [tower.get("mean") for tower in towers if isinstance(tower, dict)]
    if len(means) != 2 or not all(isinstance(mean, list) for mean in means) or type(entry.get("epoch")) is not int:
        return None
    pairs = [(finite(a), finite(b)) for a, b in zip(*means, strict=False)]
    if not pairs or any(None in pair for pair in pairs):
        return None
    return entry["epoch"], fmean(abs(a - b) for a, b in pairs)


def gains(
    method: MethodRuns, zero: MethodRuns, members: list[MethodRuns], datasets: list[str], part: str
) -> dict[int, Scores]:
    """Epoch to the gain of the checkpoint of that epoch, of all that were evaluated."""
    same = (method.trainer, method.experiment, method.shots)
    kin = [one for one in members if (one.trainer, one.experiment, one.shots) == same and one.epochs is not None]
    found = {one.epochs: change(one, zero, datasets, part, accuracy) for one in kin}
    return {epoch: scores for epoch, scores in sorted(found.items()) if scores.n}
