"""Whether two methods differ: both on the same images under the same seeds, by bootstrap and permutation.

An image enters with the pattern of its rights and wrongs under all seeds and both methods. Images of one pattern are
interchangeable, so that what is drawn is how many images of each pattern there are: the same distribution as drawing
image by image, at a cost that does not grow with the images. docs/metrics.md says what is tested.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from report.model import Scores
from report.predictions import predictions
from report.records import RunRecord

DRAWS = 10_000
FOR_A_MARK = 2_000
"""Draws of each of the many tests behind a table's marks."""
LEVEL = 0.05
AGREES = 0.006
"""Percent by which a number may be off what its predictions.csv gives: that of a record is rounded nowhere."""

# ---- what is compared ----


@dataclass(frozen=True)
class Answers:
    """Which of the N images of one half are right: (N, S) for S seeds, and the images' paths."""

    paths: tuple[str, ...]
    right: np.ndarray


@dataclass(frozen=True)
class Sample:
    """All that a number of a method rests on: one half (an accuracy), or base and new (their harmonic mean)."""

    seeds: tuple[int, ...]
    halves: tuple[Answers, ...]

    def value(self) -> float:
        """The number in percent, from the images."""
        return 100 * float(np.mean(statistic([half.right.mean(0) for half in self.halves])))


def statistic(means: Sequence[np.ndarray]) -> np.ndarray:
    """The number of each seed from its halves' accuracies, elementwise: the one, or the harmonic mean of two."""
    if len(means) == 1:
        return means[0]
    base, new = means
    total = base + new
    return np.divide(2 * base * new, total, out=np.zeros_like(total), where=total > 0)


def sample(scores: Scores, how: str) -> Sample | None:
    """What a cell rests on; None where its images are not known, or do not give its number.

    Args:
        scores: the cell's numbers and runs.
        how: "accuracy" (a run per seed), "H" (a run on base and one on new classes), "joint base", "joint new" or
            "joint H" (a run on all classes); anything else has no images behind it.
    """
    seeds = tuple(sorted(scores.values))
    per_half: list[list[tuple[tuple[str, ...], np.ndarray]]] = []
    for seed in seeds:
        parts = answers_of(scores.sources.get(seed, ()), how)
        if not parts:
            return None
        per_half.append(parts)
    halves = []
    for column in zip(*per_half, strict=True):
        paths = column[0][0]
        aligned = [align(paths, *other) for other in column]
        if any(one is None for one in aligned):
            return None
        halves.append(Answers(paths, np.stack(aligned, axis=1)))
    found = Sample(seeds, tuple(halves))
    return found if halves and abs(found.value() - scores.mean) < AGREES else None


def answers_of(runs: Sequence[RunRecord], how: str) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """(paths, right) of each half for one seed; [] where they are not known."""
    expected = 2 if how == "H" else 1
    if how not in ("accuracy", "H", "joint base", "joint new", "joint H") or len(runs) != expected:
        return []
    told = [predictions(run) for run in runs]
    if None in told:
        return []
    halves = []
    for run, one in zip(runs, told, strict=True):
        labels, right = np.array(one.labels), np.array(one.labels) == np.array(one.predicted)
        if not how.startswith("joint"):
            halves.append((tuple(one.paths), right))
            continue
        base = labels < -(-len(run.raw["classnames"]) // 2)
        kept = {"joint base": [base], "joint new": [~base], "joint H": [base, ~base]}[how]
        halves += [(tuple(np.array(one.paths)[which]), right[which]) for which in kept]
    return halves if all(len(paths) for paths, _ in halves) else []


def align(paths: tuple[str, ...], others: tuple[str, ...], right: np.ndarray) -> np.ndarray | None:
    """`right` in the order of `paths`; None if it is about other images."""
    if paths == others:
        return right
    place = {path: number for number, path in enumerate(others)}
    if len(place) != len(others) or len(paths) != len(others) or any(path not in place for path in paths):
        return None
    return right[[place[path] for path in paths]]


@dataclass(frozen=True)
class Pair:
    """Two methods on the same images under the same seeds: for each half (N, S) of either."""

    seeds: tuple[int, ...]
    first: tuple[np.ndarray, ...]
    second: tuple[np.ndarray, ...]

    def values(self) -> tuple[float, float]:
        """Both numbers in percent, over these seeds."""
        means = ([half.mean(0) for half in part] for part in (self.first, self.second))
        first, second = (100 * float(np.mean(statistic(part))) for part in means)
        return first, second

    def changed(self) -> tuple[float, float]:
        """Images per seed that only the second method has right, and that only the first has."""
        gained = sum((~a & b).sum() for a, b in zip(self.first, self.second, strict=True))
        lost = sum((a & ~b).sum() for a, b in zip(self.first, self.second, strict=True))
        return gained / len(self.seeds), lost / len(self.seeds)


def pair(first: Sample, second: Sample, same_under_all_seeds: tuple[bool, bool] = (False, False)) -> Pair | str:
    """Both methods' answers for the seeds that both have; a sentence where they cannot be paired.

    Args:
        first, second: the two methods'.
        same_under_all_seeds: of either, whether it learns nothing, so that its one run stands for every seed.
    """
    fixed = [flag and len(one.seeds) == 1 for flag, one in zip(same_under_all_seeds, (first, second), strict=True)]
    if all(fixed):
        seeds = first.seeds
    elif any(fixed):
        seeds = (second if fixed[0] else first).seeds
    else:
        seeds = tuple(seed for seed in first.seeds if seed in second.seeds)
    if not seeds:
        return "they have no seed in common"
    columns = [
        [0] * len(seeds) if still else [one.seeds.index(seed) for seed in seeds]
        for still, one in zip(fixed, (first, second), strict=True)
    ]
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for a, b in zip(first.halves, second.halves, strict=True):
        other = align(a.paths, b.paths, b.right)
        if other is None:
            return "they were tested on different images"
        parts[0].append(a.right[:, columns[0]])
        parts[1].append(other[:, columns[1]])
    return Pair(seeds, tuple(parts[0]), tuple(parts[1]))


# ---- the tests ----


def patterns(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows of (N, C) as numbers, and how many images have each."""
    rows, counts = np.unique(values, axis=0, return_counts=True)
    return rows.astype(np.float64), counts


def permutation_p(both: Pair, draws: int = DRAWS) -> float:
    """Two-sided p-value of the difference, if the methods' names could be swapped on any image (all seeds at once)."""
    random = np.random.default_rng(0)
    means = [[half.mean(0) for half in part] for part in (both.first, both.second)]
    observed = abs(np.mean(statistic(means[1])) - np.mean(statistic(means[0])))
    swapped = []
    for a, b in zip(both.first, both.second, strict=True):
        rows, counts = patterns(b.astype(np.int8) - a.astype(np.int8))
        differing = rows.any(axis=1)  # to swap the same answers changes nothing
        rows, counts = rows[differing], counts[differing]
        swapped.append(random.binomial(counts, 0.5, size=(draws, len(counts))) @ rows / len(a))  # (draws, S)
    first, second = (
        statistic([mean + sign * moved for mean, moved in zip(part, swapped, strict=True)]).mean(1)
        for part, sign in zip(means, (1, -1), strict=True)
    )
    reached = np.abs(second - first) >= observed - 1e-12
    return float((1 + reached.sum()) / (1 + draws))


def bootstrap(both: Pair, draws: int = DRAWS) -> tuple[float, float]:
    """95 % percentile interval of the difference in percent; seeds are drawn, and images, the same for all seeds."""
    random = np.random.default_rng(0)
    count = len(both.seeds)
    drawn = []
    for a, b in zip(both.first, both.second, strict=True):
        rows, counts = patterns(np.concatenate([a, b], axis=1).astype(np.int8))
        weights = random.multinomial(len(a), counts / len(a), size=draws)
        drawn.append(weights @ rows / len(a))  # (draws, 2 S)
    first, second = (statistic([half[:, part] for half in drawn]) for part in (slice(count), slice(count, None)))
    chosen = random.integers(count, size=(draws, count))
    differences = np.take_along_axis(second - first, chosen, axis=1).mean(1)
    low, high = np.percentile(100 * differences, [2.5, 97.5])
    return float(low), float(high)


def holm(values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order of `values`."""
    adjusted, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda one: values[one])):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = highest
    return adjusted


# ---- a column of a table ----


def mark_ties(column: Sequence[Any], learns_nothing: Sequence[bool]) -> bool | None:
    """Set `tied` of the column's cells that no test tells from the best one.

    Args:
        column: `report.model.Cell`s of one column.
        learns_nothing: of each, whether its method is the same under all seeds.

    Returns:
        Whether all could be tested; None where there is nothing to test.
    """
    if not column or not column[0].statistic:
        return None
    best = next((place for place, cell in enumerate(column) if cell.best), None)
    others = [place for place, cell in enumerate(column) if cell.scores.n and not cell.best]
    if best is None or not others:
        return None
    leading = sample(column[best].scores, column[best].statistic)
    tested: list[tuple[int, float]] = []
    for place in others if leading else ():
        mine = sample(column[place].scores, column[place].statistic)
        both = pair(mine, leading, (learns_nothing[place], learns_nothing[best])) if mine else ""
        if isinstance(both, Pair):
            tested.append((place, permutation_p(both, FOR_A_MARK)))
    for (place, _), adjusted in zip(tested, holm([p for _, p in tested]), strict=True):
        column[place].tied = adjusted > LEVEL
    return len(tested) == len(others)
