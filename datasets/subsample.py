"""Base and new classes: the first half of the labels and the rest."""

import math

from dassl.data.datasets import Datum

from datasets.splits import Parts

SUBSETS = ("all", "base", "new")


def subsample_classes(parts: Parts, subset: str) -> Parts:
    """Keep in every list the classes of `subset` ("all", "base" or "new") and count their labels from 0.

    The training labels, sorted, are halved; base is the first ceil(n / 2). Raises ValueError for another subset, or if
    it has no class.
    """
    if subset not in SUBSETS:
        raise ValueError(f"DATASET.SUBSAMPLE_CLASSES must be one of {', '.join(SUBSETS)}, not {subset!r}.")
    if subset == "all":
        return parts
    labels = sorted({item.label for item in parts["train"]})
    half = math.ceil(len(labels) / 2)
    kept = {label: new for new, label in enumerate(labels[:half] if subset == "base" else labels[half:])}
    if not kept:
        raise ValueError(
            f"The data set has {len(labels)} class(es), too few to have new ones; use SUBSAMPLE_CLASSES all."
        )
    return {part: [relabel(item, kept) for item in items if item.label in kept] for part, items in parts.items()}


def relabel(item: Datum, labels: dict[int, int]) -> Datum:
    """The same image under its new label."""
    return Datum(item.impath, labels[item.label], item.domain, item.classname)
