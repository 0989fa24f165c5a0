"""Image files: opened safely, read as RGB, kept decoded in memory (DATALOADER.CACHE_MB)."""

import os
import os.path as osp
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from PIL import Image

IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 90_000_000
"""Images beyond this, some 360 MB decoded, are refused: the largest of ImageNet has 61 million."""
MAX_ASPECT = 300
"""Longer by shorter side; an image beyond this would grow out of all bounds when its shorter side is resized."""
MIB = 2**20

# Numbers of TIFF's tags
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339


def open_image(path: str) -> Image.Image:
    """Open an image file that is safe to decode; its pixels are not read yet.

    This is the one way to open an image. Only IMAGE_FORMATS are tried: the reader of another format, PostScript, would
    start a program on it.

    Returns:
        The Pillow image, to be used in a `with` statement; `as_rgb` converts it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no image, or far too large, or too long. Both name the path.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(printable(f'There is no image at "{path}"; does DATASET.ROOT hold the data set?'))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on oddities in metadata; a size beyond the limit is an error below
            image = Image.open(path, formats=IMAGE_FORMATS)
    except Exception as err:  # a damaged header makes the decoders stumble in many ways
        raise _refusal(path, err) from err
    try:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"{width} x {height} pixels are more than {MAX_PIXELS:,}")
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise ValueError(f"one side of {width} x {height} pixels is more than {MAX_ASPECT} times the other")
    except ValueError as err:
        image.close()
        raise _refusal(path, err) from err
    return image


def as_rgb(image: Image.Image) -> Image.Image:
    """Decode an image and convert it to RGB, 16 bits of grey being scaled to 8.

    Raises:
        ValueError: its pixels are whole numbers of 32 bits, signed or floating-point numbers, whose black and white
            are not known. Damaged pixels raise many kinds of errors.
    """
    tags = getattr(image, "tag_v2", {})  # TIFF's
    signed = set(tags.get(_SAMPLE_FORMAT, (1,))) - {1, 4}  # 1: unsigned, 4: undefined
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        white = 2 ** tags.get(_BITS, (16,))[0] - 1
        levels = (np.arange(2**16) * 255 + white // 2) // white
        if tags.get(_PHOTOMETRIC) == 0:  # 0 is white, which Pillow sees to for 8 bits only
            levels = 255 - levels
        if not signed:
            grey = np.take(levels.clip(0, 255).astype(np.uint8), np.asarray(image))
            return Image.fromarray(grey).convert("RGB")
    if signed or image.mode in ("I", "F"):
        raise ValueError(
            "its pixels are 32-bit, signed or floating-point numbers, of which it is unknown how bright they are: "
            "save it with 8 or 16 bits per channel"
        )
    return image.convert("RGB")


def read_image(path: str) -> Image.Image:
    """Read an image file as RGB.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is broken, far too large, or of an unknown brightness. Both name the path.
    """
    with open_image(path) as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return as_rgb(image)
        except Exception as err:  # damaged pixels make the decoders stumble in many ways
            raise _refusal(path, err) from err


def printable(text: str) -> str:
    r"""Return `text` as any UTF-8 file takes it: bytes of a file name that are no text stand as `\udc..`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _refusal(path: str, reason: Exception) -> ValueError:
    return ValueError(
        printable(f'The image "{path}" cannot be read ({reason}); restore the file or take it out of the split.')
    )


class ImageCache:
    """The first images of a list that fit into a number of MiB; the others are read from disk each time.

    Few-shot training sets are small and seen in every epoch. The images are decoded in the main process before the
    first workers start, which then see them without a copy being made (where workers start from nothing, as on macOS,
    each gets its own). An unreadable image is left to `read`, which names it.

    Args:
        megabytes: bound on the decoded pixels; 0 keeps none.
    """

    def __init__(self, megabytes: float) -> None:
        if isinstance(megabytes, bool) or not isinstance(megabytes, int | float) or megabytes < 0:
            raise ValueError(f"DATALOADER.CACHE_MB is {megabytes!r}; allowed is 0 (keep none) or more.")
        self.bound = megabytes * MIB
        self.images: dict[str, Image.Image] | None = None

    def fill(self, paths: Sequence[str]) -> None:
        """Decode on all cores what fits, once."""
        if self.images is not None:
            return
        fitting, free = [], self.bound
        for path in dict.fromkeys(paths):
            free -= _decoded_size(path)
            if free < 0:
                break
            fitting.append(path)
        with ThreadPoolExecutor(cores()) as pool:
            images = pool.map(_readable, fitting)
            self.images = {path: image for path, image in zip(fitting, images, strict=True) if image is not None}

    def read(self, path: str) -> Image.Image:
        """Return the RGB image at `path`, the caller's own to change. Raises what `read_image` raises."""
        kept = self.images.get(path) if self.images else None
        return read_image(path) if kept is None else kept.copy()


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decoded_size(path: str) -> int:
    """Bytes of the RGB pixels, from the file's header; nothing for what `open_image` refuses."""
    with suppress(ValueError, OSError), open_image(path) as image:
        return 3 * image.width * image.height
    return 0


def _readable(path: str) -> Image.Image | None:
    with suppress(ValueError, OSError):
        return read_image(path)
    return None
