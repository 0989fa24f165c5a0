"""The page: tables, figures, classes, mistakes and runs in one file that needs no network and runs no record."""

import base64
import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from promptclip.common.files import write_atomically
from promptclip.common.names import require
from report import overfit
from report import tables as paper
from report.figures.captions import caption_of
from report.methods import MethodRuns, listed
from report.metrics import ALL
from report.model import Scores
from report.names import METHODS, dataset_order, shown
from report.page.flips import flips, pairs, shown_once
from report.page.mistakes import roots, thumbnail, worst
from report.records import RunRecord, finite
from report.tables import Tree
from report.text import Style, caption, remarks, with_spread

FLIPS = 5
"""Thumbnails of images gained, and of images lost, between two methods."""


def write(
    tree: Tree,
    file: Path,
    published: bool = False,
    data: Path | None = None,
    mistakes: int = 6,
    say: Callable[[str], None] = lambda step: None,
) -> list[str]:
    """Write the page to `file`.

    Args:
        published: set published numbers beside.
        data: where test images are looked for first, before the runs' own DATASET.ROOT.
        mistakes: at most as many thumbnails for each method and class subset.
        say: called with the name of each step before it is done.

    Returns:
        Sentences on what the page lacks.
    """
    require("jinja2")
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    anchors = {record: f"r{place}" for place, record in enumerate(tree.records)}
    style = Style(published=published, bold="page")
    loader = FileSystemLoader(Path(__file__).parent)
    jinja = Environment(autoescape=True, loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    jinja.filters |= {one.__name__: one for one in (caption, describe, facts, origin, with_spread)}
    jinja.filters |= {"anchor": anchors.get, "remarks": lambda table: remarks(table, style), "written": style.write}
    methods = all_methods(tree)
    say("tables")
    built, lacking = paper.build(tree, metrics=ALL)
    built += overfit.tables(tree)
    figures, without = figures_of(tree, say)
    say("images")
    changed = list(flips_of(methods, data, FLIPS if mistakes else 0))
    wrong = list(mistakes_of(methods, data, mistakes))
    lacking += [*missing_images(wrong, changed, data), *without]
    page = jinja.get_template("page.html").render(
        output=tree.output,
        published=published,
        tables=built,
        figures=figures,
        classes=list(classes_of(methods)),
        flips=changed,
        mistakes=wrong,
        records=tree.records,
        lacking=lacking,
    )
    write_atomically(file, page.encode("utf-8", "backslashreplace"))
    return lacking


def all_methods(tree: Tree) -> list[MethodRuns]:
    """Every method once, the ones of Table 1's sweeps first; an ablation's variants last."""
    first = listed(tree.methods, tree.sweeps, "table1")
    return first + [one for one in tree.methods if all(one.records is not other.records for other in first)]


def figures_of(tree: Tree, say: Callable[[str], None]) -> tuple[list[dict[str, str]], list[str]]:
    """The figures as PNG in data: addresses, and what others need; without Matplotlib that it is missing."""
    try:
        from report.figures import draw

        drawn, lacking = draw.draw(tree, say=say)
    except ModuleNotFoundError as error:
        return [], [str(error)]
    found = []
    for stem, figure in drawn.items():
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=130, metadata={"Software": None})
        address = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
        name = caption_of(stem)
        width = f"{80 * figure.get_figwidth():.0f}"  # on a phone it is not made illegible
        found.append({"address": address, "caption": name, "width": width})
    return found, lacking


def parts_of(methods: list[MethodRuns]) -> list[tuple[str, str, str]]:
    """(data set, class subset, title) of all finished runs, in the paper's order."""
    finished = [one for method in methods for one in method.finished]
    joint = {one.dataset for one in finished if one.part == "joint"}
    # what learns nothing stands with the others in `joint`, not in a part of its own
    alone = {one.dataset for one in finished if one.part == "all" and not one.zero_shot}
    found = {
        (one.dataset, one.part)
        for one in finished
        if one.part != "all" or one.dataset in alone or one.dataset not in joint
    }
    ordered = sorted(found, key=lambda pair: (dataset_order(pair[0]), pair[1] in ("all", "joint"), pair[1]))
    titles = {"all": "", "joint": ", all classes", "base": ", base classes", "new": ", new classes"}
    return [(name, part, shown(name) + titles.get(part, f", {part}")) for name, part in ordered]


def classes_of(methods: list[MethodRuns]) -> Iterator[dict[str, Any]]:
    """For each data set and class subset, the accuracy of every class by every method."""
    for dataset, subset, title in parts_of(methods):
        runs_of = {method: method.runs(dataset, subset).values() for method in methods}
        names = dict.fromkeys(name for runs in runs_of.values() for run in runs for name in per_class(run))
        there = [method for method, runs in runs_of.items() if any(map(per_class, runs))]
        rows = [
            (name, [one.scores(dataset, subset, value=lambda run, key=name: per_class(run).get(key)) for one in there])
            for name in names
        ]
        if rows:
            yield {"title": title, "labels": [method.label for method in there], "rows": rows}


@cache
def per_class(run: RunRecord) -> dict[str, float | None]:
    """Class name to percent, None for a class without a test image; {} if the record has no such thing."""
    names, values = run.raw.get("classnames"), run.raw.get("per_class_accuracy")
    if not isinstance(names, list) or not isinstance(values, list) or len(names) != len(values):
        return {}
    return {str(name): finite(value) for name, value in zip(names, values, strict=True)}


def mistakes_of(methods: list[MethodRuns], data: Path | None, most: int) -> Iterator[dict[str, Any]]:
    """For each data set and class subset, the methods' worst mistakes; of several seeds the first."""
    for dataset, subset, title in parts_of(methods):
        found = []
        for method in methods:
            runs = [run for _, run in sorted(method.runs(dataset, subset).items())]
            first = next((run for run in runs if worst(run, most) is not None), None)
            if first:
                tiles = [
                    vars(one) | {"address": thumbnail(first, one.path, data), "count": count}
                    for one, count in worst(first, most)
                ]
                found.append((method.label, first, tiles))
        if found:
            yield {"title": title, "methods": found}


def flips_of(methods: list[MethodRuns], data: Path | None, most: int) -> Iterator[dict[str, Any]]:
    """For each data set and class subset, pairs of methods with the images that changed sides between them."""
    for dataset, subset, title in parts_of(methods):
        found = []
        for pair in pairs(methods, dataset, subset):
            changed = flips(pair)
            if changed is None:
                continue
            sides = [
                (
                    sum(flip.gained == gained for flip in changed),
                    [
                        vars(flip) | {"address": thumbnail(pair.after, flip.path, data), "count": count}
                        for flip, count in shown_once(changed, gained, most)
                    ],
                )
                for gained in (True, False)
            ]
            found.append({"pair": pair, "gained": sides[0], "lost": sides[1]})
        if found:
            yield {"title": title, "pairs": found}


def missing_images(mistakes: list[dict[str, Any]], flips: list[dict[str, Any]], data: Path | None) -> list[str]:
    """A sentence on the images that were not found, if there are any."""
    tiles = [(run, tile) for part in mistakes for _, run, tiles in part["methods"] for tile in tiles]
    pairs = [one for part in flips for one in part["pairs"]]
    tiles += [(one["pair"].after, tile) for one in pairs for tile in one["gained"][1] + one["lost"][1]]
    missing = {tile["path"] for _, tile in tiles if tile["address"] is None}
    where = ", ".join(sorted({str(root) for run, _ in tiles for root in roots(run, data)})) or "any known root"
    told = f"{len(missing)} images of mistakes and changes are not below {where}; name their root with --data."
    return [told] if missing else []


def describe(run: RunRecord) -> str:
    """What a run was, and its result."""
    result = f"{run.accuracy:.2f} %" if run.accuracy is not None else "unfinished"
    result = f"not possible, {run.unsupported}" if run.unsupported else result
    subset = "" if run.subset == "all" else f"{run.subset} classes of "
    return f"{METHODS.get(run.trainer, run.trainer)}, {subset}{shown(run.dataset)}, seed {run.seed}: {result}"


def facts(run: RunRecord) -> list[str]:
    """What else is known of a run, in short."""
    commit, device = (str(run.raw.get(key) or "") for key in ("git_commit", "device"))
    seconds = finite(run.raw.get("wall_seconds"))
    found = [f"{run.mode or 'run'}" + (f" of a checkpoint from {shown(run.source)}" if run.source else "")]
    found += [f"{run.epoch} epochs"] if run.epoch is not None else []
    found += [f"commit {commit[:10]}{'-dirty' * commit.endswith('-dirty')}"] if commit else []
    found += [f"{seconds:.0f} s"] if seconds is not None else []
    found += [f"backbone: {run.raw['backbone_source']}"] if isinstance(run.raw.get("backbone_source"), str) else []
    found += [f"inference: {run.inference}"] if run.inference else []
    found += [f"chosen on {run.selected_on}"] if run.selected_on else []
    return found + ([device] if device else [])


def origin(scores: Scores, interval: bool = False) -> str:
    """One sentence on a number: seeds and their values, spread, and the 95 % interval if SciPy is installed."""
    told = ", ".join(f"{value:.2f} (seed {seed})" for seed, value in sorted(scores.values.items()))
    if scores.n == 1:
        return f"One seed: {told}."
    half = ""
    if interval:
        with suppress(ModuleNotFoundError):
            half = f"; 95 % interval of the mean ± {scores.interval:.2f}"
    return f"{with_spread(scores.mean, scores.std, 2)} over {scores.n} seeds: {told}{half}."
