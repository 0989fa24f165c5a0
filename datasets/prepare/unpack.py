"""Unpacking archives that nobody vouches for: nothing leaves the target folder, nothing is left half-made."""

import errno
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

MOST_FOLDED = 100  # bytes that a byte of an archive may stand for; images hardly fold at all


def is_archive(path: Path) -> bool:
    """Whether `path` is meant to be a tar or zip file, by its name."""
    return path.name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz"))


def unpack(archive: Path, target: Path, strip: str = "") -> None:
    """Write the files of `archive` below `target`, a folder that does not exist yet.

    With `strip`, only what lies in that folder of the archive, without it. Links and devices are left out. Raises
    ValueError if the archive is damaged, would write elsewhere, or holds nothing there; OSError if the disk refuses.
    `target` does not exist then.
    """
    prefix = f"{strip}/" if strip else ""
    count, room = 0, 2**24 + MOST_FOLDED * archive.stat().st_size
    try:
        target.mkdir(parents=True)
        for name, content in members(archive):
            inside = safe(name, archive)
            if not inside.startswith(prefix):
                continue
            path = target / inside[len(prefix) :]
            path.parent.mkdir(parents=True, exist_ok=True)
            with content, path.open("wb") as file:
                room -= copy(content, file, room) + 4096  # that a file takes besides its content
            count += 1
            if room < 0:
                raise ValueError(f"{archive.name} unfolds to more than {MOST_FOLDED} times its size; it is not used.")
        if not count:
            raise ValueError(f"{archive.name} holds no file in {strip or 'it'}; its publisher may have changed it.")
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        # readers of archives stumble over damaged ones in any way; an error of the disk is its own, but for one number,
        # that of a place which no file has, to which an archive leads
        of_disk = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
        said = isinstance(error, ValueError) and archive.name in str(error)
        if isinstance(error, Exception) and not (of_disk or said):
            raise ValueError(f"{archive.name} is damaged ({error}); nothing was unpacked.") from error
        raise


def copy(source: IO[bytes], target: IO[bytes], room: int) -> int:
    """Copy, but not much beyond `room` bytes; returns how many were copied."""
    size = 0
    while size <= room and (chunk := source.read(1 << 20)):
        target.write(chunk)
        size += len(chunk)
    return size


def members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """(name, content) of every regular file."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as file:
            for entry in file.infolist():
                linked = stat.S_ISLNK(entry.external_attr >> 16)
                if not entry.is_dir() and not linked:
                    yield entry.filename, file.open(entry)
        return
    with tarfile.open(archive, "r|*") as file:  # as a stream: a tar of a million files needs no second pass
        for entry in file:
            if entry.isfile():
                yield entry.name, file.extractfile(entry)


def safe(name: str, archive: Path) -> str:
    """The member's path in plain form; ValueError if it leads out of the folder it is unpacked in."""
    steps = name.replace("\\", "/").split("/")
    if ".." in steps or name.startswith(("/", "\\")) or os.path.splitdrive(name)[0] or "\0" in name:
        raise ValueError(f"{archive.name} holds {name!r}, which leads out of the folder; nothing of it was unpacked.")
    return "/".join(step for step in steps if step not in ("", "."))


def move_into(source: Path, target: Path) -> None:
    """Move the content of folder `source` into folder `target`, joining folders that exist in both."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            move_into(entry, place)
        else:
            os.replace(entry, place)
    source.rmdir()
