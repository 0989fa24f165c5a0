"""Image files: opened safely, read as RGB, kept decoded in memory (DATALOADER.CACHE_MB)."""

import os
import os.path as osp
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from PIL import Image

IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 90_000_000
"""Images beyond this, some 360 MB decoded, are refused: the largest of ImageNet has 61 million."""
MIB = 2**20


def read_image(path: str) -> Image.Image:
    """Read an image file as RGB.

    Only the listed formats are tried: the reader of another one, PostScript, would start a program on it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is broken or far too large. Both name the path.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f'There is no image at "{path}"; does DATASET.ROOT hold the data set?')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on oddities in metadata; a size beyond the limit is an error below
            with Image.open(path, formats=IMAGE_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ValueError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}")
                return image.convert("RGB")
    except Exception as err:  # a damaged file makes the decoders stumble in many ways
        raise ValueError(
            f'The image "{path}" cannot be read ({err}); restore the file or take it out of the split.'
        ) from err


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
    """Bytes of the RGB pixels, from the file's header; nothing for what `read_image` will refuse."""
    with suppress(Exception), Image.open(path, formats=IMAGE_FORMATS) as image:  # damaged headers fail in many ways
        pixels = image.width * image.height
        return 3 * pixels if pixels <= MAX_PIXELS else 0
    return 0


def _readable(path: str) -> Image.Image | None:
    with suppress(ValueError, OSError):
        return read_image(path)
    return None
