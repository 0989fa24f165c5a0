"""Accuracy of every class, methods side by side."""

from collections.abc import Iterator
from html import escape

from report.names import dataset_order, shown
from report.page.runs import Runs, origin
from report.page.tables import heading, number
from report.records import Record, finite
from report.rows import Row
from report.statistics import Summary
from report.text import with_spread


def per_class(record: Record) -> dict[str, float | None] | None:
    """Class name to percent, None for a class without a test image; None if the record has no such thing."""
    names, values = record.raw.get("classnames"), record.raw.get("per_class_accuracy")
    if not isinstance(names, list) or not isinstance(values, list) or len(names) != len(values) or not names:
        return None
    return {f"{name}": finite(value) for name, value in zip(names, values, strict=True)}


def parts_of(named: list[tuple[str, Row]]) -> list[tuple[str, str]]:
    """(data set, class subset) of all finished runs, in the paper's order."""
    found = {(one.dataset, one.subset) for _, row in named for one in row.finished}
    return sorted(found, key=lambda pair: (dataset_order(pair[0]), pair[1] == "all", pair[1]))


def title(dataset: str, subset: str) -> str:
    """What a part is called."""
    return shown(dataset) if subset == "all" else f"{shown(dataset)}, {subset} classes"


def html(named: list[tuple[str, Row]], runs: Runs) -> str:
    """A folded table for each data set and class subset."""
    parts = []
    for dataset, subset in parts_of(named):
        columns = {}
        for label, row in named:
            found = {seed: per_class(one) for seed, one in row.runs(dataset, subset).items()}
            kept = {seed: one for seed, one in found.items() if one}
            if kept:
                columns[label] = (kept, row.runs(dataset, subset))
        if columns:
            body = "\n".join(lines(columns, runs))
            head = "".join(map(heading, ("class", *columns)))
            parts.append(
                f"<details><summary>{escape(title(dataset, subset))}</summary>"
                f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'
                "</details>"
            )
    return "\n".join(parts)


def lines(columns: dict, runs: Runs) -> Iterator[str]:
    """A row a class."""
    names = list(dict.fromkeys(name for kept, _ in columns.values() for one in kept.values() for name in one))
    for name in names:
        cells = []
        for label, (kept, records) in columns.items():
            values = {seed: one[name] for seed, one in kept.items() if one.get(name) is not None}
            if not values:
                cells.append('<td class="missing" data-value="">no image</td>')
                continue
            summary = Summary(values)
            ids = [runs.id(records[seed]) for seed in values]
            told = origin(values, summary.std, None)
            link = number(with_spread(summary.mean, summary.std), ids, f"{label}, {name}", told)
            cells.append(
                f'<td class="share" style="--v:{summary.mean:.1f}%" data-value="{summary.mean:.4f}">{link}</td>'
            )
        yield f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>'
