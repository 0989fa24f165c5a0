"""`fetch`: download and lay out what has a public source, and say exactly what has to be put where by hand."""

import errno
import os
import shutil
from pathlib import Path

from datasets.base import DRIVE, MIRROR, Archive, ByHand, SplitDataset
from datasets.prepare.catalogue import folder_of, opened
from datasets.prepare.download import download
from datasets.prepare.unpack import is_archive, move_into, unpack

WORK = ".fetch"  # folder in the data set's, for what is not finished


def fetch(cls: type[SplitDataset], root: str) -> bool:
    """Put the data set in place below `root` as far as it has public sources; return whether it can be used now.

    Raises OSError or ValueError with a sentence; what was in place before is untouched then.
    """
    name, facts = cls.__name__, cls.facts
    if facts is None:
        print(f"{name}: nothing to fetch; see docs/datasets.md.")
        return True
    folder = folder_of(cls, root)
    if isinstance(obstacle(cls, root), FileNotFoundError):
        print(f"{name}: licence: {facts.licence}; {facts.homepage}")
        try:
            for archive in facts.archives:
                fetch_archive(archive, folder)
        finally:
            remove_if_empty(folder / WORK, folder)
    left = obstacle(cls, root)
    tell_rest(cls, folder)
    then = f"python -m datasets.prepare check {name} --root {root}"
    if left is None:
        shutil.rmtree(folder / WORK, ignore_errors=True)
        print(f"{name} is in {folder}. Next: {then}")
    elif isinstance(left, FileNotFoundError):
        print(f"{name} is not complete; put the files above in place, then: {then}")
    else:
        print(f"{name} cannot be used yet: {left} Then: {then}")
    return left is None


def remove_if_empty(*folders: Path) -> None:
    """Remove the folders that hold nothing, in this order: a failure leaves no trace where there was none before."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def obstacle(cls: type[SplitDataset], root: str) -> Exception | None:
    """What keeps the data set from being used: FileNotFoundError if something is missing, or what else is wrong."""
    try:
        dataset = opened(cls, root)
        listed = {item.impath for items in dataset.read(save=False).values() for item in items}
        missing = next((path for path in sorted(listed) if not os.path.exists(path)), None)
        return dataset.missing(Path(missing)) if missing else None
    except (OSError, ValueError, ImportError) as error:
        return error


def fetch_archive(archive: Archive, folder: Path) -> None:
    """Download one file and move what it holds into `folder`; once done, it is not fetched again."""
    work = folder / WORK
    done = work / f"{archive.name}.done"
    if done.exists():
        return
    file = work / archive.name
    if not file.exists():
        download(archive.url, file, archive.md5)
    staging = work / f"{archive.name}.unpacked"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        if is_archive(file):
            unpack(file, staging, archive.strip)
            if archive.inner:
                unpack_inner(staging, archive.inner)
        else:
            staging.mkdir()
            shutil.copy(file, staging / file.name)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(f"The disk of {folder} is full; {file.name} was not unpacked. Free some.") from error
        raise
    except ValueError:
        file.unlink(missing_ok=True)  # a damaged or dangerous archive is worth nothing
        raise
    move_into(staging, folder)
    done.touch()
    file.unlink()


def unpack_inner(staging: Path, inner: str) -> None:
    """Replace what was unpacked by the content of one archive among it; ValueError if that is not there."""
    path = staging / inner
    if not path.is_file():
        shutil.rmtree(staging)
        raise ValueError(f"The archive holds no {inner}; its publisher may have changed it.")
    second = staging.with_name(f"{staging.name}.inner")
    shutil.rmtree(second, ignore_errors=True)
    try:
        unpack(path, second)
    finally:
        shutil.rmtree(staging)
    second.rename(staging)


def tell_rest(cls: type[SplitDataset], folder: Path) -> None:
    """Print what has to be put in place by hand, and where it is found."""
    split = [ByHand(cls.split_file, f"{DRIVE}/{cls.facts.split}/view", optional=True)] if cls.facts.split else []
    rest = [item for item in (*cls.facts.by_hand, *split) if not (folder / item.path).exists()]
    for item in rest:
        kind = "optional" if item.optional else "needed"
        print(f"  by hand ({kind}): {folder / item.path}\n    from {item.source}")
    if any(item.path == cls.split_file for item in rest):
        print("    without it a split is made by the same rule, but other images are trained and tested on")
    if rest and cls.__name__ != "ImageNet":
        print(f"  All of these are also in {MIRROR}")
