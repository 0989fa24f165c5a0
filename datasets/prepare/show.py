"""`show`: a contact sheet, a few images of every class under the class's name."""

import math
import warnings
from pathlib import Path

from dassl.data.datasets import Datum
from PIL import Image, ImageDraw, ImageFont

from datasets.base import SplitDataset
from datasets.prepare.catalogue import opened
from datasets.prepare.images import as_rgb, open_image

TILE = 64  # pixels
GAP = 6
LINE = 18
LARGEST = 90_000_000  # pixels of a sheet; ImageNet's with 4 images per class has 27 million
INK, PAPER, GREY = "#222222", "#ffffff", "#cccccc"


def show(cls: type[SplitDataset], root: str, output: Path, per_class: int = 4) -> Path:
    """Write the contact sheet of the training images (the test images of a set for testing only) as PNG.

    The images of a class are taken evenly from its list, so that the sheet is the same every time.

    Raises:
        FileNotFoundError, ValueError: with a sentence, if the data set or an image cannot be read, or the sheet would
            be too large.
    """
    if per_class < 1:
        raise ValueError(f"At least one image per class must be shown, not {per_class}.")
    parts = opened(cls, root).read(save=False)
    classes: dict[int, list[Datum]] = {}
    for item in parts["train"]:
        classes.setdefault(item.label, []).append(item)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on oddities in metadata
        sheet = draw([classes[label] for label in sorted(classes)], per_class)
    output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(output, "PNG")
    return output


def draw(classes: list[list[Datum]], per_class: int) -> Image.Image:
    """The sheet: blocks of a name and a row of images, in as many columns as make it roughly square."""
    height = LINE + TILE + 2 * GAP
    most = LARGEST // (len(classes) * height * (TILE + GAP)) - 1
    if per_class > most:
        raise ValueError(f"A sheet of {len(classes)} classes has room for {most} images of each, not {per_class}.")
    width = per_class * (TILE + GAP) + 2 * GAP
    columns = max(1, min(len(classes), round(math.sqrt(len(classes) * height / width))))
    rows = math.ceil(len(classes) / columns)
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for number, items in enumerate(classes):
        left, top = (number // rows) * width + GAP, (number % rows) * height + GAP
        pen.text((left, top), shortened(items[0].classname, pen, font, width - 3 * GAP), fill=INK, font=font)
        for place, item in enumerate(evenly(items, per_class)):
            sheet.paste(tile(item.impath), (left + place * (TILE + GAP), top + LINE))
    return sheet


def evenly(items: list[Datum], count: int) -> list[Datum]:
    """At most `count` items, evenly spread over the list."""
    count = min(count, len(items))
    return [items[position * len(items) // count] for position in range(count)]


def tile(path: str) -> Image.Image:
    """The image, fitted into a square on grey."""
    try:
        with open_image(path) as image:
            image.draft("RGB", (TILE, TILE))  # a large JPEG need not be decoded in full
            small = as_rgb(image)
            small.thumbnail((TILE, TILE))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no image {path}; `python -m datasets.prepare check` says more.") from error
    except Exception as error:  # decoders raise nearly anything on broken files
        reason = " ".join(str(error.__cause__ or error).split())
        raise ValueError(f"The image {path} cannot be read ({reason}).") from error
    square = Image.new("RGB", (TILE, TILE), GREY)
    square.paste(small, ((TILE - small.width) // 2, (TILE - small.height) // 2))
    return square


def shortened(name: str, pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont, width: int) -> str:
    """The name, cut so that it stays narrower than `width` pixels; characters the font lacks become "?"."""
    name = " ".join(name[:200].split())
    if isinstance(font, ImageFont.ImageFont):  # Pillow without FreeType: a bitmap font of Latin-1
        name = name.encode("latin-1", "replace").decode("latin-1")
    if pen.textlength(name, font=font) <= width:
        return name
    while name and pen.textlength(f"{name}...", font=font) > width:
        name = name[:-1]
    return f"{name}..."
