"""Small helpers around files: writing that is complete or not there, listing that is the same everywhere."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

IMAGE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"])


def write_atomically(path: Path, write: Callable[[IO[bytes]], None], keep_existing: bool = False) -> None:
    """Let `write` fill a file that appears under `path` complete or not at all, its folder included.

    With `keep_existing` a file that another process put there meanwhile stays. Raises OSError; nothing half-made is
    left then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o666 & ~current_umask())  # mkstemp lets only the owner read, but data roots are shared
        if not (keep_existing and path.exists()):
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def current_umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def is_image(name: str) -> bool:
    """Whether a file of that name is taken for an image: not hidden, and with a usual suffix in any case."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def list_images(folder: Path) -> list[str]:
    """Names of the images directly in `folder`, sorted: file systems list in any order, samples must not follow."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if is_image(entry.name) and entry.is_file())


def list_folders(folder: Path, ignored: tuple[str, ...] = ()) -> list[str]:
    """Names of the folders directly in `folder` that are not hidden, sorted."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    return sorted(name for name in names if not name.startswith(".") and name not in ignored)
