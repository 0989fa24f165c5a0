"""Tables 2 and 3: trained on one data set, tested on others (Table 2) and on other domains of the same (Table 3)."""

from collections.abc import Iterator
from statistics import fmean

from report import published
from report.base2new import settings
from report.methods import MethodRuns, listed
from report.metrics import Column
from report.metrics import blocks as blocks_of_metrics
from report.model import Block, Cell, Table, TableRow, combine
from report.names import dataset_order, shown
from report.sweeps import SweepRecord

TITLES = {2: "Cross-dataset transfer", 3: "Domain generalisation"}


def tables(
    methods: list[MethodRuns], sweeps: list[SweepRecord], number: int, metrics: tuple[str, ...] = ("accuracy",)
) -> list[Table]:
    """Table 2 or 3, one for each source, backbone and number of shots; none if no run belongs in it."""
    found = []
    for setting, members in settings(methods):
        transfers = [one for method in members for one in method.finished if one.protocol == "cross_dataset"]
        for source in sorted({one.source for one in transfers if one.source}, key=dataset_order):
            reached = {one.dataset for one in transfers if one.source == source}
            targets = sorted((one for one in reached if is_domain(one, source) == (number == 3)), key=dataset_order)
            if targets:
                chosen = [method for method in members if belongs(method, source, targets)]
                named = listed(chosen, sweeps, f"table{number}") or chosen
                columns = ["source", *map(shown, targets), "average"]
                blocks = [Block("", columns, [row_of(method, number, source, targets) for method in named])]
                blocks = blocks if "accuracy" in metrics else []
                for title, column in of_one_run(metrics):
                    rows = [other_row(method, column, source, targets) for method in named]
                    if any(cell.scores.n for row in rows for cell in row.cells):
                        blocks.append(Block(title, columns, rows))
                note = (
                    f"Average: over the {len(targets)} targets, {shown(source)} left out, per seed, for seeds that "
                    "have all of them."
                )
                where = ", ".join(filter(None, (f"trained on {shown(source)}", setting)))
                if blocks:
                    found.append(Table(number, TITLES[number], where, blocks, [note]))
    return found


def of_one_run(metrics: tuple[str, ...]) -> Iterator[tuple[str, Column]]:
    """(title, column) of the metrics that every evaluation has, whatever its classes."""
    for columns in blocks_of_metrics(metrics).values():
        for column in columns:
            if column.part == "base":  # the same number stands there once more, for new classes
                yield column.title.removesuffix(" base"), column


def is_domain(target: str, source: str) -> bool:
    """Whether `target` is another domain of the source, as ImageNetV2 is of ImageNet."""
    return target.startswith(source) and target != source


def belongs(method: MethodRuns, source: str, targets: list[str]) -> bool:
    """Whether it was transferred from the source, or needs no training and was tested on all of a target."""
    return any(
        one.dataset in targets and one.subset == "all" and (method.zero_shot or one.source == source)
        for one in method.records
    )


def row_of(method: MethodRuns, number: int, source: str, targets: list[str]) -> TableRow:
    """The accuracies of one method on the source and the targets, and their average over the targets."""
    scores = [method.scores(dataset, "all", source) for dataset in (source, *targets)]
    names = [f"{shown(source)}(source)", *map(shown, targets)]
    printed = [published.look_up(number, method, name) for name in names]
    known = [value for value in printed[1:] if value is not None]
    places = zip((source, *targets), scores, strict=True)
    reasons = ["" if one.n else method.reason([dataset], ["all"]) for dataset, one in places]
    cells = [
        Cell(one, number, reason, "accuracy") for one, number, reason in zip(scores, printed, reasons, strict=True)
    ]
    cells.append(Cell(combine(fmean, *scores[1:]), fmean(known) if len(known) == len(targets) else None))
    counts = sorted({one.n for one, reason in zip(scores, reasons, strict=True) if not reason}) or [0]
    seeds = f"{counts[0]}-{counts[-1]}" if len(counts) > 1 else str(counts[0])
    waiting = method.unfinished([source, *targets], ["all"])
    return TableRow(method, cells, seeds + (f" (+{waiting} unfinished)" if waiting else ""))


def other_row(method: MethodRuns, column: Column, source: str, targets: list[str]) -> TableRow:
    """Another number than the accuracy on the source and the targets, and its average over the targets."""
    scores = [method.scores(dataset, "all", source, column.read) for dataset in (source, *targets)]
    scores.append(combine(fmean, *scores[1:]))
    cells = [Cell(one, lower=column.lower, decimals=column.decimals) for one in scores]
    counts = sorted({one.n for one in scores})
    return TableRow(method, cells, f"{counts[0]}-{counts[-1]}" if len(counts) > 1 else str(counts[0]))
