"""Two methods on the same images under the same seeds: how far apart, how surely, and on how many images."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from tabulate import tabulate

from promptclip.common.names import unknown
from report import significance
from report.base2new import settings
from report.methods import MethodRuns, listed
from report.metrics import METRICS
from report.model import Scores, combine, harmonic_mean
from report.names import dataset_order, shown
from report.tables import Tree

HEADER = ["", "A", "B", "B - A", "95 % interval", "p", "only B", "only A"]
WIDTH = 80


@dataclass(frozen=True)
class Comparison:
    """One number of two methods.

    Attributes:
        title: what is compared, such as "base".
        first, second: in percent, over the seeds that both have.
        interval: of second minus first, 95 %, in points.
        p: of the permutation test.
        gained, lost: images per seed that only the second, and only the first, has right.
        seeds: that both have.
    """

    title: str
    first: float
    second: float
    interval: tuple[float, float]
    p: float
    gained: float
    lost: float
    seeds: tuple[int, ...]

    @property
    def differs(self) -> bool:
        """Whether the test over images and the interval over seeds and images both say so."""
        low, high = self.interval
        return self.p < significance.LEVEL and not low <= 0 <= high


def find(tree: Tree, name: str) -> list[MethodRuns]:
    """The methods called `name`, by their label in tables or their trainer, letter case aside.

    Raises ValueError with the nearest name.
    """
    methods = listed(tree.methods, tree.sweeps, "table1") or tree.methods
    everybody = [*methods, *tree.methods]
    for key in (lambda one: one.label, lambda one: one.trainer):
        found = {id(one.records): one for one in reversed(everybody) if key(one).casefold() == name.casefold()}
        if found:
            return list(found.values())[::-1]
    raise ValueError(unknown("method in this tree", name, sorted({one.label for one in everybody})))


def compare(tree: Tree, first: str, second: str) -> str:
    """What `report compare` prints. Raises ValueError if the two have no runs on the same images."""
    parts, reasons = [], []
    every = find(tree, first), find(tree, second)
    for setting, members in settings(tree.methods):
        there = {id(method.records) for method in members}
        a, b = ([one for one in methods if id(one.records) in there] for methods in every)
        for one in a:
            for other in b:
                if one.records is not other.records:
                    parts += list(reports(one, other, setting, reasons))
    if not parts:
        why = f": {'; '.join(dict.fromkeys(reasons))}" if reasons else ""
        raise ValueError(f"{first} and {second} have no predictions on the same images to compare{why}.")
    return "\n\n".join(parts)


def reports(first: MethodRuns, second: MethodRuns, setting: str, reasons: list[str]) -> Iterator[str]:
    """A text for each data set; what stands in the way of others goes to `reasons`."""
    for dataset in sorted({one.dataset for one in first.finished}, key=dataset_order):
        found = [one for one in comparisons(first, second, dataset, reasons) if one]
        if found:
            where = f"{shown(dataset)}{f', {setting}' if setting else ''}"
            chosen = [
                name
                for name, method in (("A", first), ("B", second))
                if any(run.selected_on == "test" for run in method.finished if run.dataset == dataset)
            ]
            yield text(found, where, first.label, second.label, chosen)


def comparisons(first: MethodRuns, second: MethodRuns, dataset: str, reasons: list[str]) -> Iterator[Comparison | None]:
    """Each number of the two that rests on images: alone, base and new; together; and all classes in one."""
    for title, how in (("base", "accuracy"), ("new", "accuracy"), ("H", "H"), ("all", "accuracy")):
        numbers = [halves(method, dataset, title) for method in (first, second)]
        yield of_numbers(title, how, numbers, (first, second), reasons)
    for column in METRICS["joint"][1]:
        if column.statistic:
            numbers = [method.scores(dataset, column.part, value=column.read) for method in (first, second)]
            yield of_numbers(f"{column.title} of all", column.statistic, numbers, (first, second), reasons)


def halves(method: MethodRuns, dataset: str, title: str) -> Scores:
    """The accuracy on a class subset, or H."""
    if title == "H":
        return combine(harmonic_mean, method.scores(dataset, "base"), method.scores(dataset, "new"))
    return method.scores(dataset, title)


def of_numbers(
    title: str, how: str, numbers: list[Scores], methods: tuple[MethodRuns, MethodRuns], reasons: list[str]
) -> Comparison | None:
    """The comparison of two numbers; None, and maybe a reason, where they cannot be compared."""
    if not all(one.n for one in numbers):
        return None
    samples = [significance.sample(one, how) for one in numbers]
    for method, found in zip(methods, samples, strict=True):
        if found is None:
            reasons.append(f"{method.label} lacks the predictions.csv behind {title}")
    if None in samples:
        return None
    both = significance.pair(*samples, (methods[0].zero_shot, methods[1].zero_shot))
    if isinstance(both, str):
        reasons.append(f"of {title}, {both}")
        return None
    values = both.values()
    return Comparison(
        title, *values, significance.bootstrap(both), significance.permutation_p(both), *both.changed(), both.seeds
    )


def text(found: list[Comparison], where: str, first: str, second: str, chosen: list[str]) -> str:
    """Heading, table and verdict; `chosen` are those of A and B of which something was chosen on test images."""
    rows = [
        [
            one.title,
            f"{one.first:.1f}",
            f"{one.second:.1f}",
            f"{one.second - one.first:+.1f}",
            f"{one.interval[0]:+.2f} to {one.interval[1]:+.2f}",
            f"{one.p:.4f}",
            f"{one.gained:.1f}",
            f"{one.lost:.1f}",
        ]
        for one in found
    ]
    seeds = ", ".join(map(str, found[0].seeds))
    heading = f"A: {first}; B: {second}. {where}, seed{'s' * (len(found[0].seeds) > 1)} {seeds}."
    table = tabulate(rows, HEADER, "simple", disable_numparse=True, colalign=("left", *["right"] * (len(HEADER) - 1)))
    better, worse, same = (
        [one.title for one in found if one.differs and one.second > one.first],
        [one.title for one in found if one.differs and one.second < one.first],
        [one.title for one in found if not one.differs],
    )
    verdicts = [f"B is better than A: {'; '.join(better)}."] if better else []
    verdicts += [f"A is better than B: {'; '.join(worse)}."] if worse else []
    verdicts += [f"They cannot be told apart: {'; '.join(same)}."] if same else []
    verdicts += [f"† Something of {name} was chosen by its accuracy on test images." for name in chosen]
    verdicts.append(
        "Interval: bootstrap over images and seeds; p: paired permutation test over images; they differ where p < 0.05 "
        "and the interval excludes 0. Only B, only A: images per seed that only one of them has right. Of all: all "
        "classes to choose from."
    )
    return "\n".join([textwrap.fill(heading, WIDTH), "", table, "", *(textwrap.fill(one, WIDTH) for one in verdicts)])
