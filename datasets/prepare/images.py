"""Opening the images of `check` and `show`, as training opens them."""

import os

from PIL import Image

try:
    from dassl.utils import as_rgb, open_image
except ImportError:  # upstream's Dassl, which would try every format, that of PostScript by starting a program

    def open_image(path: str) -> Image.Image:
        """The image at `path`, not decoded yet."""
        if not os.path.isfile(path):
            raise FileNotFoundError(f"there is no file {path}")
        image = Image.open(path, formats=("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP"))
        if image.width * image.height > 90_000_000:
            raise ValueError(f"{image.width} x {image.height} pixels are too many")
        return image

    def as_rgb(image: Image.Image) -> Image.Image:
        """The decoded image in RGB."""
        return image.convert("RGB")


__all__ = ["as_rgb", "open_image"]
