"""Tables 1, 4 and 5: accuracy on base and new classes and their harmonic mean, first averaged over all data sets; below
them what else is asked for of the same runs.

Table 4 is RESTORE as lambda_fs varies, Table 5 as its surgery does: the same numbers of other methods.
"""

from collections import defaultdict
from dataclasses import replace
from statistics import fmean

from report import published
from report.methods import MethodRuns, listed, listed_only
from report.metrics import Column
from report.metrics import blocks as other_blocks
from report.model import Block, Cell, Scores, Table, TableRow, combine, harmonic_mean
from report.names import dataset_order, shown
from report.records import finite
from report.sweeps import SweepRecord

SUBSETS = ("base", "new")
COLUMNS = [*SUBSETS, "H"]
EXPLAINED = (
    (
        {f"{name} {part}" for name in ("ECE", "adaptive ECE", "MCE") for part in SUBSETS},
        "ECE, adaptive ECE, MCE: calibration errors in %, 15 bins; Brier: 0 to 2; NLL: nats; lower is better.",
    ),
    (
        {"AUSUC"},
        "All classes: base and new ones to choose from, by a model trained on base classes; AUSUC: area under base "
        "against new accuracy as a bias on base classes varies; OpenworldAUC: both right, and told apart.",
    ),
    (
        {"AUROC"},
        "Known or unknown: base images from new ones, by the highest probability among base classes, and by MCM; "
        "AUROC and FPR95 in %, FPR95 lower is better.",
    ),
)
"""Columns, and the sentence that says what is in them (docs/metrics.md says more)."""
SURGERY = {"none": "L^fs only", "fixed": "+ fixed surgery", "fs_guided": "+ FS-guided surgery"}
TITLES = {1: "Base-to-new generalisation", 4: "The weight of the feature-shift loss, λ_fs", 5: "Surgery"}


def tables(
    methods: list[MethodRuns], sweeps: list[SweepRecord], number: int, metrics: tuple[str, ...] = ("accuracy",)
) -> list[Table]:
    """Table 1, 4 or 5, one for each backbone and number of shots; none if no run belongs in it."""
    there = [method for method in methods if any(record.protocol == "base2new" for record in method.records)]
    made = [
        (setting, blocks_of(chosen(members, sweeps, number), number, metrics)) for setting, members in settings(there)
    ]
    return [Table(number, TITLES[number], setting, blocks, notes(blocks)) for setting, blocks in made if blocks]


def settings(methods: list[MethodRuns]) -> list[tuple[str, list[MethodRuns]]]:
    """("ViT-B/16, 16 shots a class", methods) of those that compare; zero-shot stands in each with its backbone."""
    pairs = {(method.backbone, method.shots) for method in methods if not method.zero_shot}
    alone = {(method.backbone, None) for method in methods} - {(backbone, None) for backbone, _ in pairs}
    found = []
    for backbone, shots in sorted(pairs | alone, key=lambda pair: (pair[0], pair[1] or 0)):
        members = [one for one in methods if one.backbone == backbone and (one.zero_shot or one.shots == shots)]
        how_many = "" if shots is None or shots < 1 else f"{shots} shot{'s' if shots > 1 else ''} a class"
        found.append((", ".join(filter(None, (backbone, how_many))), members))
    return found


def chosen(methods: list[MethodRuns], sweeps: list[SweepRecord], number: int) -> list[MethodRuns]:
    """The rows of Table 1: every method, an ablation's variants only if there is nothing else.

    Those of Tables 4 and 5 are its sweep's, else the variants of RESTORE that differ in FS_WEIGHT or SURGERY alone.
    """
    if number == 1:
        return listed(methods, sweeps, "table1") or methods
    varied = []
    for method in variants(methods, "FS_WEIGHT" if number == 4 else "SURGERY"):
        weight, surgery = finite(method.option("FS_WEIGHT")), str(method.option("SURGERY"))
        if number == 4 and weight is not None:
            varied.append((method.trainer, weight, f"λ_fs = {method.option('FS_WEIGHT')}", method))
        elif number == 5 and surgery in SURGERY:
            varied.append((method.trainer, list(SURGERY).index(surgery), SURGERY[surgery], method))
    varied.sort(key=lambda one: one[:2])
    named = [replace(method, label=f"{trainer}, {name}") for trainer, _, name, method in varied]
    return listed_only(methods, sweeps, f"table{number}") or named


def variants(methods: list[MethodRuns], option: str) -> list[MethodRuns]:
    """Those of RESTORE that have a sibling with another value of `option` and everything else the same."""
    siblings = defaultdict(list)
    for method in methods:
        if method.option("FS_WEIGHT") is not None and method.option("SURGERY") is not None:
            own = f"TRAINER.{method.trainer.upper()}."
            rest = {key: value for key, value in method.config.items() if key.startswith(("OPTIM.", own))}
            rest.pop(f"{own}{option}")
            siblings[method.trainer, repr(sorted(rest.items()))].append(method)
    return [method for members in siblings.values() if len(members) > 1 for method in members]


def blocks_of(methods: list[MethodRuns], number: int, metrics: tuple[str, ...]) -> list[Block]:
    """For each data set, and their average before them if there are several, a block of accuracies and of the rest."""
    halves = {one.dataset for method in methods for one in method.finished if one.subset in SUBSETS}
    datasets = sorted(halves, key=dataset_order)
    groups = [(f"Average over {len(datasets)} data sets", datasets, methods)] if len(datasets) > 1 else []
    for dataset in datasets:
        begun = [
            method
            for method in methods
            if any(one.dataset == dataset and one.subset in SUBSETS for one in method.records)
        ]
        groups.append((shown(dataset), [dataset], begun))
    found = []
    for title, names, members in groups:
        if "accuracy" in metrics:
            found.append(Block(title, COLUMNS, [row_of(method, names, number) for method in members]))
        for what, columns in other_blocks(metrics).items():
            rows = [other_row(method, names, columns) for method in members]
            if any(cell.scores.n for row in rows for cell in row.cells):
                found.append(Block(f"{title}, {what}", [column.title for column in columns], rows))
    return found


def row_of(method: MethodRuns, datasets: list[str], number: int) -> TableRow:
    """Base, new and H, averaged over the data sets per seed, for the seeds that have every one of them."""
    base, new = (method.average(datasets, subset) for subset in SUBSETS)
    scores = (base, new, combine(harmonic_mean, base, new))
    printed = published_numbers(method, [shown(dataset) for dataset in datasets], number)
    complete = sum(all(method.average([dataset], subset).n for subset in SUBSETS) for dataset in datasets)
    reasons = [method.reason(datasets, parts) for parts in (["base"], ["new"], SUBSETS)]
    unfinished = method.unfinished(datasets, SUBSETS)
    seeds = count_seeds(
        *(one for one, reason in zip(scores[:2], reasons, strict=False) if not reason), unfinished=unfinished
    )
    if complete < len(datasets) > 1:
        seeds += f" ({complete}/{len(datasets)})"
    statistics = ("accuracy", "accuracy", "H") if len(datasets) == 1 else ("", "", "")
    cells = [
        Cell(one, printed[column], reason if not one.n else "", statistic)
        for column, one, reason, statistic in zip(COLUMNS, scores, reasons, statistics, strict=True)
    ]
    return TableRow(method, cells, seeds)


def other_row(method: MethodRuns, datasets: list[str], columns: list[Column]) -> TableRow:
    """Other numbers than the accuracies, averaged over the data sets per seed."""
    cells = []
    for column in columns:
        scores = method.average(datasets, column.part, column.read)
        reason = "" if scores.n else method.reason(datasets, [column.part])
        statistic = column.statistic if len(datasets) == 1 else ""
        cells.append(Cell(scores, None, reason, statistic, column.lower, column.decimals))
    counts = sorted({cell.scores.n for cell in cells if not cell.reason}) or [0]
    return TableRow(method, cells, f"{counts[0]}-{counts[-1]}" if len(counts) > 1 else str(counts[0]))


def count_seeds(*halves: Scores, unfinished: int) -> str:
    """How many seeds stand behind a row: one number if both halves have the same ones, or there is only one half."""
    same = len({frozenset(half.values) for half in halves}) < 2
    counts = [f"{half.n} {subset}" for half, subset in zip(halves, SUBSETS, strict=False)]
    counted = f"{halves[0].n if halves else 0}" if same else ", ".join(counts)
    return counted + (f" (+{unfinished} unfinished)" if unfinished else "")


def published_numbers(method: MethodRuns, names: list[str], number: int) -> dict[str, float | None]:
    """What is published of the data sets called `names`: the printed average over all eleven, else taken here."""
    whole = names[0] if len(names) == 1 else "Average11" if set(names) == published.eleven() else None
    if whole:
        return {metric: published.look_up(number, method, whole, metric) for metric in COLUMNS}
    each = {metric: [published.look_up(number, method, name, metric) for name in names] for metric in SUBSETS}
    if any(value is None for values in each.values() for value in values):
        return dict.fromkeys(COLUMNS)
    base, new = (fmean(values) for values in each.values())
    return {"base": base, "new": new, "H": harmonic_mean([base, new])}


def notes(blocks: list[Block]) -> list[str]:
    """How the numbers were made."""
    shown_columns = {column for block in blocks for column in block.columns}
    found = ["H: harmonic mean of base and new, per seed, then averaged."] if "H" in shown_columns else []
    average = (
        "Average: per seed over the data sets, for seeds that have all of them; its H is the harmonic mean of the "
        "two averages, as in the papers."
    )
    several = any(block.title.startswith("Average") for block in blocks)
    explained = [sentence for names, sentence in EXPLAINED if shown_columns & names]
    return [*found, *[average] * several, *explained]
