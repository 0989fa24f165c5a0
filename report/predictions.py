"""What a run said of every test image: its predictions.csv, read once."""

import csv
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
    """Of N test images the path, true class, predicted class and the true class's probability (N,), as lists."""

    paths: list[str]
    labels: list[int]
    predicted: list[int]
    true_probability: list[float]


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
            rows = [[row[place] for place in places] for row in islice(reader, MOST)]
        found = Predictions(
            [row[0] for row in rows],
            [int(row[1]) for row in rows],
            [int(row[2]) for row in rows],
            [float(row[3]) for row in rows],
        )
    except (OSError, ValueError, IndexError, StopIteration, csv.Error):
        return None
    labels_fit = all(0 <= label < classes for label in (*found.labels, *found.predicted))
    sane = labels_fit and all(0 <= one <= 1 for one in found.true_probability)
    return found if sane else None
