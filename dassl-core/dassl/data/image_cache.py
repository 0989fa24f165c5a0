"""Training images kept decoded in memory (DATALOADER.CACHE_MB): few-shot sets are small and seen every epoch."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from PIL import Image
from torch.utils.data import DataLoader

from dassl.utils import read_image
from dassl.utils.files import IMAGE_FORMATS, MAX_PIXELS

MIB = 2**20


class ImageCache:
    """The first images of a list that fit into a number of MiB; the others are read from disk each time.

    They are decoded in the main process before the first workers start, which then see them without a copy being made
    (where workers start from nothing, as on macOS, each gets its own). An unreadable image is left to the reader,
    which names it.

    Args:
        megabytes: bound on the decoded pixels; 0 keeps none.
    """

    def __init__(self, megabytes: int) -> None:
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
        """The RGB image at `path`, the caller's own to change. Raises what `read_image` raises."""
        kept = self.images.get(path) if self.images else None
        return read_image(path) if kept is None else kept.copy()


class CachingLoader(DataLoader):
    """A loader whose data set fills its cache before the first batch, and not at all where none is asked for."""

    def __iter__(self):
        self.dataset.keep_images()
        return super().__iter__()


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def evaluation_workers(asked: int, training: int, batches: int, reader: Callable[[], int] = cores) -> int:
    """Worker processes of an evaluation: as many as asked for, or with -1 one a core and at most one a batch.

    Without workers in training (`training` 0) -1 means none here as well.

    Raises:
        ValueError: `asked` is below -1.
    """
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < -1:
        raise ValueError(f"DATALOADER.TEST.NUM_WORKERS is {asked!r}; allowed is -1 (all cores), 0 (none) or more.")
    if asked >= 0:
        return asked
    return min(reader(), batches) if training else 0


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
