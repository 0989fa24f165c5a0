"""Small helpers around files, folders and images."""

import json
import os
import os.path as osp
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from PIL import Image

IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 90_000_000
"""Images beyond this, some 360 MB decoded, are refused: the largest of ImageNet has 61 million."""


def mkdir_if_missing(dirname: str) -> None:
    """Create a folder and its parents unless it is there already."""
    if dirname:
        os.makedirs(dirname, exist_ok=True)


def check_isfile(fpath: str) -> bool:
    """Tell whether `fpath` is a file, with a warning if it is not."""
    found = osp.isfile(fpath)
    if not found:
        warnings.warn(f'No file found at "{fpath}"', stacklevel=2)
    return found


def listdir_nohidden(path: str, sort: bool = True) -> list[str]:
    """List the names in `path` that do not start with a dot.

    The list is sorted whatever `sort` says: an order that depends on the file system would make few-shot samples
    differ from machine to machine.
    """
    return sorted(name for name in os.listdir(path) if not name.startswith("."))


def tolist_if_not(x: Any) -> list:
    """Put anything that is not a list into a list of one."""
    return x if isinstance(x, list) else [x]


@contextmanager
def atomic_write(fpath: str, mode: str = "wb", shared: bool = False) -> Iterator[IO]:
    """Open a file whose content appears under `fpath` at once and complete, or not at all.

    The content goes to a hidden file beside it, is forced to the disk and then moved into place. That file's name is
    always the same, so that killed writers leave no pile; `shared` gives every process its own, where several may write
    the same thing. Raises OSError with the path if something fails; what was at `fpath` then stays.
    """
    folder = osp.dirname(osp.abspath(fpath))
    writer = f"{os.getpid()}." if shared else ""
    part = osp.join(folder, f".{osp.basename(fpath).split('-')[0]}.{writer}part")
    try:
        with open(part, mode, encoding=None if "b" in mode else "utf-8") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.replace(part, fpath)
        _sync_folder(folder)
    except BaseException as err:
        if osp.exists(part):
            os.remove(part)
        # torch.save reports a full disk as a RuntimeError of its zip writer, which hides the reason.
        if isinstance(err, RuntimeError) and isinstance(err.__context__, OSError):
            err = err.__context__
        if isinstance(err, OSError | RuntimeError):
            raise OSError(
                f'"{fpath}" could not be written ({err}); the file that was there before is untouched.'
            ) from err
        raise


def _sync_folder(folder: str) -> None:
    """Force the renaming itself to the disk, on systems that can open a folder."""
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def read_json(fpath: str) -> Any:
    """Read a JSON file. Raises ValueError with the path if it is not JSON."""
    with open(fpath, encoding="utf-8") as f:
        try:
            return json.load(f)
        except (ValueError, RecursionError) as err:
            raise ValueError(f'"{fpath}" is not a valid JSON file ({err}).') from err


def write_json(obj: Any, fpath: str) -> None:
    """Write a JSON file, its folder included; nobody ever sees it half-written."""
    mkdir_if_missing(osp.dirname(fpath))
    with atomic_write(fpath, "w", shared=True) as f:
        json.dump(obj, f, indent=4, separators=(",", ": "))


def read_image(path: str) -> Image.Image:
    """Read an image file as RGB.

    Only the listed formats are tried: the reader of another one, PostScript, would start a program on it. Raises
    FileNotFoundError if there is none, ValueError if it is broken or far too large; both name the path.
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
