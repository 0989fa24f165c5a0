"""Tables 1, 4 and 5: accuracy on base and new classes and their harmonic mean, a data set a block, their average first.

Table 4 is RESTORE as lambda_fs varies, Table 5 as its surgery does: the same numbers of other rows.
"""

from statistics import fmean

from report import published
from report.model import Block, Cell, Line, Table, cell, count_seeds, mark_best
from report.names import dataset_order, shown
from report.records import Record
from report.rows import Row, from_sweep, named_rows
from report.statistics import harmonic_mean, per_seed
from report.sweeps import Sweep

COLUMNS = ["base", "new", "H"]
SURGERY = {"none": "L^fs only", "fixed": "+ fixed surgery", "fs_guided": "+ FS-guided surgery"}


def tables(rows: list[Row], sweeps: list[Sweep], number: int) -> list[Table]:
    """Table 1, 4 or 5, one for each backbone and number of shots; none if no run belongs in it."""
    there = [row for row in rows if any(record.protocol == "base2new" for record in row.records)]
    found = []
    for setting, members in settings(there):
        named = CHOICE[number](members, sweeps)
        blocks = blocks_of(named, number)
        if blocks:
            found.append(Table(number, TITLES[number], setting, blocks, notes(number, blocks)))
    return found


def settings(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """("ViT-B/16, 16 shots a class", rows) of rows that compare; zero-shot stands in each with its backbone."""
    pairs = {(row.backbone, row.shots) for row in rows if not row.zero_shot}
    alone = {(row.backbone, None) for row in rows} - {(backbone, None) for backbone, _ in pairs}
    found = []
    for backbone, shots in sorted(pairs | alone, key=lambda pair: (pair[0], pair[1] or 0)):
        members = [row for row in rows if row.backbone == backbone and (row.zero_shot or row.shots == shots)]
        how_many = "" if shots is None or shots < 1 else f"{shots} shot{'s' if shots > 1 else ''} a class"
        found.append((", ".join(filter(None, (backbone, how_many))), members))
    return found


def all_methods(rows: list[Row], sweeps: list[Sweep]) -> list[tuple[str, Row]]:
    """Table 1: every method; an ablation's variants only if there is nothing else."""
    return named_rows(rows, sweeps, "table1") or [(row.label, row) for row in rows]


def by_weight(rows: list[Row], sweeps: list[Sweep]) -> list[tuple[str, Row]]:
    """Table 4: the rows of its sweep, else the variants of RESTORE that differ in FS_WEIGHT alone, by weight."""
    own = from_sweep(rows, sweeps, "table4")
    varied = sorted(variants(rows, "FS_WEIGHT"), key=lambda row: (row.trainer, float(row.option("FS_WEIGHT"))))
    return own or [(f"{row.trainer}, λ_fs = {row.option('FS_WEIGHT')}", row) for row in varied]


def by_surgery(rows: list[Row], sweeps: list[Sweep]) -> list[tuple[str, Row]]:
    """Table 5: the rows of its sweep, else the variants of RESTORE that differ in SURGERY alone."""
    own = from_sweep(rows, sweeps, "table5")
    arms = [row for row in variants(rows, "SURGERY") if row.option("SURGERY") in SURGERY]
    arms.sort(key=lambda row: (row.trainer, list(SURGERY).index(row.option("SURGERY"))))
    return own or [(f"{row.trainer}, {SURGERY[row.option('SURGERY')]}", row) for row in arms]


def variants(rows: list[Row], option: str) -> list[Row]:
    """Rows of RESTORE that have a sibling with another value of `option` and everything else alike."""
    families: dict[tuple, list[Row]] = {}
    for row in rows:
        if row.option("FS_WEIGHT") is None or row.option("SURGERY") is None:
            continue
        name = f"TRAINER.{row.trainer.upper()}."
        rest = {key: value for key, value in row.config.items() if key.startswith(("OPTIM.", name))}
        rest.pop(f"{name}{option}")
        families.setdefault((row.trainer, repr(sorted(rest.items()))), []).append(row)
    return [row for family in families.values() if len(family) > 1 for row in family]


CHOICE = {1: all_methods, 4: by_weight, 5: by_surgery}
TITLES = {
    1: "Base-to-new generalisation",
    4: "The weight of the feature-shift loss, λ_fs",
    5: "Surgery",
}


def blocks_of(named: list[tuple[str, Row]], number: int) -> list[Block]:
    """A block a data set, and, if there are several, their average before them."""
    datasets = sorted(
        {one.dataset for _, row in named for one in row.finished if one.subset in ("base", "new")}, key=dataset_order
    )
    single = [Block(shown(dataset), COLUMNS, lines(named, dataset, number)) for dataset in datasets]
    average = Block(f"Average over {len(datasets)} data sets", COLUMNS, averages(named, datasets, number))
    return [mark_best(block) for block in ([average] if len(datasets) > 1 else []) + single]


def lines(named: list[tuple[str, Row]], dataset: str, number: int) -> list[Line]:
    """The rows on one data set; a row that never began there is left out."""
    found = []
    for name, row in named:
        if not any(one.dataset == dataset and one.subset in ("base", "new") for one in row.records):
            continue
        runs = {subset: row.runs(dataset, subset) for subset in ("base", "new")}
        values = {subset: {seed: one.accuracy for seed, one in part.items()} for subset, part in runs.items()}
        printed = {metric: published.look_up(number, row, shown(dataset), metric) for metric in COLUMNS}
        cells = three(values["base"], values["new"], *(list(part.values()) for part in runs.values()), printed)
        waiting = row.unfinished([dataset], ["base", "new"])
        found.append(Line(name, row, cells, count_seeds({key: set(part) for key, part in runs.items()}, waiting)))
    return found


def three(
    base: dict[int, float],
    new: dict[int, float],
    base_runs: list[Record],
    new_runs: list[Record],
    printed: dict[str, float | None],
) -> list[Cell]:
    """The cells base, new and H, the harmonic mean taken per seed."""
    both = per_seed(lambda pair: harmonic_mean(*pair), base, new)
    behind = [one for one in base_runs + new_runs if one.seed in both]
    return [
        cell(base, base_runs, printed["base"]),
        cell(new, new_runs, printed["new"]),
        cell(both, behind, printed["H"]),
    ]


def averages(named: list[tuple[str, Row]], datasets: list[str], number: int) -> list[Line]:
    """The average over all data sets, per seed and for the seeds that have every one of them."""
    found = []
    for name, row in named:
        runs = {subset: [row.runs(dataset, subset) for dataset in datasets] for subset in ("base", "new")}
        values = {
            subset: per_seed(fmean, *({seed: one.accuracy for seed, one in part.items()} for part in parts))
            for subset, parts in runs.items()
        }
        behind = {
            subset: [one for part in parts for seed, one in part.items() if seed in values[subset]]
            for subset, parts in runs.items()
        }
        printed = published_average(row, datasets, number)
        cells = three(values["base"], values["new"], behind["base"], behind["new"], printed)
        complete = sum(all(parts) for parts in zip(*runs.values(), strict=True))
        waiting = row.unfinished(datasets, ["base", "new"])
        seeds = count_seeds({key: set(part) for key, part in values.items()}, waiting)
        if complete < len(datasets):
            seeds += f" ({complete}/{len(datasets)})"
        found.append(Line(name, row, cells, seeds))
    return found


def published_average(row: Row, datasets: list[str], number: int) -> dict[str, float | None]:
    """The published average over the same data sets: the printed one over all eleven, else taken here."""
    names = [shown(dataset) for dataset in datasets]
    if set(names) == published.eleven():
        return {metric: published.look_up(number, row, "Average11", metric) for metric in COLUMNS}
    each = {metric: [published.look_up(number, row, name, metric) for name in names] for metric in ("base", "new")}
    if any(value is None for values in each.values() for value in values):
        return dict.fromkeys(COLUMNS)
    base, new = fmean(each["base"]), fmean(each["new"])
    return {"base": base, "new": new, "H": harmonic_mean(base, new)}


def notes(number: int, blocks: list[Block]) -> list[str]:
    """How the numbers were made."""
    said = ["H: harmonic mean of base and new, per seed, then averaged."]
    if len(blocks) > 1:
        said.append(
            "Average: per seed over the data sets, for seeds that have all of them; its H is the harmonic mean of the "
            "two averages, as in the papers."
        )
    return said
