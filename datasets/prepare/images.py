"""Opening an image, in `check` and `show`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 90_000_000


@contextmanager
def open_image(path: str) -> Iterator[Image.Image]:
    """The image, not decoded yet; other formats are not tried, as that of PostScript is read by starting a program."""
    if not os.path.isfile(path):  # a pipe would be waited for
        raise FileNotFoundError(f"there is no file {path}")
    with Image.open(path, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}")
        yield image
