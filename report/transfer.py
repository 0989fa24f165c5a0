"""Tables 2 and 3: trained on one data set, tested on others (Table 2) and on other domains of the same (Table 3)."""

from statistics import fmean

from report import published
from report.base2new import settings
from report.model import Block, Cell, Line, Table, cell, mark_best
from report.names import dataset_order, shown
from report.rows import Row, named_rows
from report.statistics import per_seed
from report.sweeps import Sweep

TITLES = {2: "Cross-dataset transfer", 3: "Domain generalisation"}


def tables(rows: list[Row], sweeps: list[Sweep], number: int) -> list[Table]:
    """Table 2 or 3, one for each source, backbone and number of shots; none if no run belongs in it."""
    found = []
    for setting, members in settings(rows):
        transfers = [one for row in members for one in row.finished if one.protocol == "cross_dataset"]
        for source in sorted({one.source for one in transfers if one.source}, key=dataset_order):
            targets = sorted(
                {one.dataset for one in transfers if one.source == source and is_domain(one.dataset, source, number)},
                key=dataset_order,
            )
            if targets:
                block = block_of(members, sweeps, number, source, targets)
                said = [
                    f"Average: over the {len(targets)} targets, {shown(source)} left out, per seed, for seeds that "
                    "have all of them."
                ]
                where = ", ".join(filter(None, (f"trained on {shown(source)}", setting)))
                found.append(Table(number, TITLES[number], where, [block], said))
    return found


def is_domain(target: str, source: str, number: int) -> bool:
    """Whether `target` is in table `number`: another domain of the source (ImageNetV2) in 3, anything else in 2."""
    return (target.startswith(source) and target != source) == (number == 3)


def block_of(rows: list[Row], sweeps: list[Sweep], number: int, source: str, targets: list[str]) -> Block:
    """A line a method; the source, the targets and their average as columns."""
    chosen = [row for row in rows if belongs(row, source, targets)]
    named = named_rows(chosen, sweeps, f"table{number}") or [(row.label, row) for row in chosen]
    columns = ["source", *map(shown, targets), "average"]
    return mark_best(Block("", columns, [line(name, row, number, source, targets) for name, row in named]))


def belongs(row: Row, source: str, targets: list[str]) -> bool:
    """Whether the row was transferred from the source, or needs no training and was tested on all of a target."""
    return any(
        one.dataset in targets and one.subset == "all" and (row.zero_shot or one.source == source)
        for one in row.records
    )


def line(name: str, row: Row, number: int, source: str, targets: list[str]) -> Line:
    """The cells of one method."""
    runs = [row.runs(dataset, "all") for dataset in (source, *targets)]
    runs[1:] = [{seed: one for seed, one in part.items() if row.zero_shot or one.source == source} for part in runs[1:]]
    values = [{seed: one.accuracy for seed, one in part.items()} for part in runs]
    labels = [f"{shown(source)}(source)", *map(shown, targets)]
    printed = [published.look_up(number, row, label) for label in labels]
    cells: list[Cell] = [
        cell(part, list(ones.values()), number_) for part, ones, number_ in zip(values, runs, printed, strict=True)
    ]
    average = per_seed(fmean, *values[1:])
    behind = [one for part in runs[1:] for seed, one in part.items() if seed in average]
    known = [value for value in printed[1:] if value is not None]
    cells.append(cell(average, behind, fmean(known) if len(known) == len(targets) else None))
    counts = sorted({len(part) for part in runs})
    seeds = f"{counts[0]}-{counts[-1]}" if len(counts) > 1 else str(counts[0])
    waiting = row.unfinished([source, *targets], ["all"])
    return Line(name, row, cells, seeds + (f" (+{waiting} unfinished)" if waiting else ""))
