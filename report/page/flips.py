"""Which images changed sides between two methods: right by the one, wrong by the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from report.methods import MethodRuns
from report.page.twins import once
from report.predictions import predictions
from report.records import RunRecord

BUILT_ON = {"RESTORE_m": "MaPLe", "RESTORE_p": "PromptSRC"}
"""Method to the one whose prompts it has: the two are compared, too."""


@dataclass(frozen=True)
class Flip:
    """A test image with the name of its class and, by either method, of the predicted one and the true one's
    probability."""

    path: str
    label: str
    before: str
    after: str
    probability_before: float
    probability_after: float

    @property
    def gained(self) -> bool:
        """Whether the second method has it right."""
        return self.after == self.label


@dataclass(frozen=True)
class Pair:
    """Two runs on the same images: `first` and `second` are the methods' labels."""

    first: str
    second: str
    before: RunRecord
    after: RunRecord


def pairs(methods: list[MethodRuns], dataset: str, subset: str) -> Iterator[Pair]:
    """Every method against zero-shot CLIP of its backbone, and RESTORE against what it is built on; the first seeds."""
    runs = {method: method.runs(dataset, subset) for method in methods}
    for method in methods:
        for other in methods:
            same = method.backbone == other.backbone and (other.zero_shot or method.shots == other.shots)
            wanted = other.trainer in ("ZeroshotCLIP", BUILT_ON.get(method.trainer))
            if method is other or not same or not wanted:
                continue
            seeds = [seed for seed in sorted(runs[method]) if other.zero_shot or seed in runs[other]]
            if seeds and runs[other]:
                earlier = min(runs[other]) if other.zero_shot else seeds[0]
                yield Pair(other.label, method.label, runs[other][earlier], runs[method][seeds[0]])


def flips(pair: Pair) -> list[Flip] | None:
    """The images that changed sides, the greatest change of the true class's probability first.

    None where the predictions of either are not known, or are of other images.
    """
    before, after = predictions(pair.before), predictions(pair.after)
    if before is None or after is None or (before.paths, before.labels) != (after.paths, after.labels):
        return None
    names: list[Any] = pair.after.raw["classnames"]
    columns = (before.paths, before.labels, before.predicted, after.predicted)
    rows = zip(*columns, before.true_probability, after.true_probability, strict=True)
    found = [
        Flip(path, f"{names[label]}", f"{names[one]}", f"{names[other]}", p, q)
        for path, label, one, other, p, q in rows
        if (one == label) != (other == label)
    ]
    return sorted(found, key=lambda flip: (-abs(flip.probability_after - flip.probability_before), flip.path))


def shown_once(found: list[Flip], gained: bool, most: int) -> list[tuple[Flip, int]]:
    """At most `most` of the images that were gained, or lost, styles of one thing once."""
    return once((flip for flip in found if flip.gained == gained), lambda flip: flip.path, most)
