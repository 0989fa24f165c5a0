"""The worst mistakes as thumbnails: wrong predictions that left the true class least, from predictions.csv."""

import base64
import csv
import io
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from report.page.classes import parts_of, title
from report.page.runs import Runs
from report.records import Record
from report.rows import Row

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


def worst(record: Record, most: int) -> list[Mistake] | None:
    """The `most` wrong predictions with the least probability of the true class; None if there is no such file, or a
    damaged one.
    """
    names = record.raw.get("classnames")
    file = record.path / "predictions.csv"
    if not isinstance(names, list) or not file.is_file():
        return None
    found = []
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                label, prediction = int(row["label"]), int(row["prediction"])
                if label != prediction and min(label, prediction) >= 0:
                    probability = float(row["true_probability"])
                    found.append(Mistake(row["path"] or "", f"{names[label]}", f"{names[prediction]}", probability))
    except (OSError, ValueError, KeyError, IndexError, TypeError, csv.Error):
        return None
    return sorted(found, key=lambda one: (one.probability, one.path))[:most]


class Images:
    """Finds test images and makes them small. `missing`: paths that were not found below `tried`."""

    def __init__(self, data: Path | None) -> None:
        self.data = data
        self.missing: set[str] = set()
        self.tried: set[str] = set()
        self.made: dict[Path, str | None] = {}

    def roots(self, record: Record) -> list[Path]:
        """--data, then the root that the run had; "" stands for the data sets that come with the code."""
        own = record.config.get("DATASET.ROOT")
        recorded = [Path(own).expanduser() if own else EMBEDDED] if isinstance(own, str) else []
        return ([self.data] if self.data else []) + recorded

    def find(self, record: Record, path: str) -> Path | None:
        """The file, which must lie below its root: a record cannot have any other put on the page."""
        for root in self.roots(record):
            self.tried.add(str(root))
            try:
                file, top = (root / path).resolve(), root.resolve()
                if file.is_relative_to(top) and file.is_file():
                    return file
            except (OSError, ValueError):
                continue
        return None

    def thumbnail(self, record: Record, path: str) -> str | None:
        """A data: address of the image, at most SIDE x SIDE; None if it is not there or not to be read."""
        file = self.find(record, path)
        if file is not None and file not in self.made:
            self.made[file] = shrink(file)
        address = self.made.get(file) if file else None
        if address is None:
            self.missing.add(path)
        return address


def shrink(file: Path) -> str | None:
    """The image as a small PNG or JPEG in a data: address; None if it cannot be read."""
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


def html(named: list[tuple[str, Row]], runs: Runs, images: Images, most: int) -> str:
    """For each data set and class subset a folded list of the methods' worst mistakes; of several seeds the first."""
    parts = []
    for dataset, subset in parts_of(named):
        rows = []
        for label, row in named:
            records = [one for _, one in sorted(row.runs(dataset, subset).items())]
            record = next((one for one in records if worst(one, 1) is not None), None)
            if record is not None:
                rows.append(method(label, record, runs, images, most))
        if rows:
            opened = " open" if not parts else ""
            parts.append(
                f"<details{opened}><summary>{escape(title(dataset, subset))}</summary>\n{''.join(rows)}\n</details>"
            )
    return "\n".join(parts)


def method(label: str, record: Record, runs: Runs, images: Images, most: int) -> str:
    """One method's worst mistakes."""
    tiles = "".join(tile(one, images.thumbnail(record, one.path)) for one in worst(record, most) or [])
    link = f'<a href="#{runs.id(record)}">seed {record.seed}</a>'
    return f'<h3>{escape(label)}, {link}</h3><div class="tiles">{tiles or "No mistake."}</div>\n'


def tile(one: Mistake, address: str | None) -> str:
    """One image: predicted class, true class, its probability."""
    told = f"{one.path}: {one.label}, taken for {one.prediction}"
    picture = (
        f'<img src="{address}" alt="{escape(told)}" title="{escape(told)}" loading="lazy">'
        if address
        else f'<span class="gone" title="{escape(told)}">image not found</span>'
    )
    return (
        f'<div class="tile">{picture}<b>{escape(one.prediction)}</b><br>is {escape(one.label)}, '
        f"{escape(percent(one.probability))}</div>"
    )


def percent(probability: float) -> str:
    """A probability in percent; a very small one as below the last digit."""
    return "< 0.1 %" if probability < 0.001 else f"{100 * probability:.1f} %"
