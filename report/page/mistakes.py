"""The worst mistakes as thumbnails: wrong predictions that left the true class least, from predictions.csv."""

import base64
import io
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from report.page.twins import once
from report.predictions import predictions
from report.records import RunRecord

EMBEDDED = Path(__file__).parents[2] / "datasets" / "embedded"
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
LARGEST = 90_000_000
"""Pixels of an image that is opened."""
SIDE = 116
"""Pixels of a thumbnail."""


@dataclass(frozen=True)
class Mistake:
    """A test image, the names of its class and of the predicted one, and the probability its own class was given."""

    path: str
    label: str
    prediction: str
    probability: float


def worst(record: RunRecord, most: int) -> list[tuple[Mistake, int]] | None:
    """The `most` wrong predictions with the least probability of the true class, styles of one thing once.

    Each with how many such mistakes were made of that thing. None if there is no predictions.csv, or a damaged one.
    """
    found = predictions(record)
    if found is None:
        return None
    names = record.raw["classnames"]
    rows = zip(found.paths, found.labels, found.predicted, found.true_probability, strict=True)
    wrong = (
        Mistake(path, f"{names[label]}", f"{names[other]}", probability)
        for path, label, other, probability in rows
        if label != other
    )
    return once(sorted(wrong, key=lambda one: (one.probability, one.path)), lambda one: one.path, most)


def roots(record: RunRecord, data: Path | None) -> list[Path]:
    """Where test images may lie: below `data`, then below DATASET.ROOT; "" is that of the data sets in the checkout."""
    own = record.config.get("DATASET.ROOT")
    recorded = [Path(os.path.expanduser(own)) if own else EMBEDDED] if isinstance(own, str) else []
    return [data, *recorded] if data else recorded


def thumbnail(record: RunRecord, path: str, data: Path | None) -> str | None:
    """A data: address of the image, at most SIDE x SIDE; None if it is not there or cannot be read.

    It must lie below its root: a record cannot have any other file put on the page.
    """
    for root in roots(record, data):
        try:
            file, top = (root / path).resolve(), root.resolve()
            if file.is_relative_to(top) and file.is_file():
                return shrink(file)
        except (OSError, ValueError):
            continue
    return None


@cache
def shrink(file: Path) -> str | None:
    """The image as a small JPEG in a data: address; None if it cannot be read."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > LARGEST:
                return None
            image.draft("RGB", (2 * SIDE, 2 * SIDE))
            small = image.convert("RGBA")
        small.thumbnail((SIDE, SIDE))
        flat = Image.new("RGB", small.size, "white")
        flat.paste(small, mask=small.getchannel("A"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    stream = io.BytesIO()
    flat.save(stream, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
