"""What a run said of every test image: its predictions.csv, read once."""

import csv
import sys
from array import array
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from report.records import RunRecord

LARGEST = 300_000_000
"""Bytes of a file that is read; that of ImageNet has some ten million."""
MOST = 5_000_000
"""Images of one."""
KEPT = 512
"""Files that are kept in memory: all of a table's, so that none is read twice."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Of N test images the path, true class, predicted class and the true class's probability, N each.

    Compact: a table of eleven data sets has some million rows. The paths of all files are the same strings.
    """

    paths: list[str]
    labels: "array[int]"
    predicted: "array[int]"
    true_probability: "array[float]"


@lru_cache(maxsize=KEPT)
def predictions(run: RunRecord) -> Predictions | None:
    """What a run said; None if it left no predictions.csv, or a damaged one."""
    file, names = run.path / "predictions.csv", run.raw.get("classnames")
    classes = len(names) if isinstance(names, list) else 0
    try:
        if not file.is_file() or file.stat().st_size > LARGEST:
            return None
        with file.open(encoding="utf-8", newline="") as lines:
            reader = csv.reader(lines)
            head = next(reader)
            places = [head.index(name) for name in ("path", "label", "prediction", "true_probability")]
            found = Predictions([], array("i"), array("i"), array("d"))
            for row in islice(reader, MOST):
                path, label, predicted, probability = (row[place] for place in places)
                found.paths.append(sys.intern(path))
                found.labels.append(int(label))
                found.predicted.append(int(predicted))
                found.true_probability.append(float(probability))
    except (OSError, ValueError, IndexError, OverflowError, StopIteration, csv.Error):
        return None
    labels_fit = all(0 <= label < classes for label in (*found.labels, *found.predicted))
    sane = labels_fit and all(0 <= one <= 1 for one in found.true_probability)
    return found if sane else None
