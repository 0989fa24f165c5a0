"""Train, val and test lists: split files (`split_zhou_<Name>.json`), CoOp's two rules of making them, class subsets.

A split file is {"train": [[path below the image folder, label from 0, class name], ...], "val": ..., "test": ...}.
"""

import json
import math
import os
import random
import stat
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import unescape
from itertools import count
from pathlib import Path

import ftfy
from dassl.data.datasets import Datum

from datasets.files import first_few, list_folders, list_images, read_json, shorten
from promptclip.common.files import write_atomically
from promptclip.common.names import unknown

PARTS = ("train", "val", "test")
Parts = dict[str, list[Datum]]  # keys: PARTS
SUBSETS = ("all", "base", "new")  # of the classes
# Splits are made as CoOp's code makes them in a run with seed 1, whatever the seed of the run that makes them.
SPLIT_SEED = 1


@contextmanager
def random_numbers(seed: int) -> Iterator[None]:
    """Python's random numbers as they are after `random.seed(seed)`, and afterwards as they were before.

    A run that makes a split or draws a sample and one that finds it on the disk then continue with the same numbers. A
    negative seed draws from where the generator stands.
    """
    state = random.getstate()
    if seed >= 0:
        random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def read_split(path: Path, images: Path) -> Parts:
    """Read a split file; its paths are taken below the folder `images`.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: with the file's name and what is wrong with it: not JSON, a part or an entry of another form, a path
            that leaves `images`. See `check_classes`, `check_names` and `check_images` for what holds between entries.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no split file {path}.")
    try:
        content = read_json(path)
    except ValueError as error:
        raise ValueError(f"The split file {error} Fetch it again or delete it.") from error
    if not isinstance(content, dict) or any(not isinstance(content.get(part), list) for part in PARTS):
        raise ValueError(f'The split file {path} must hold three lists, "train", "val" and "test"; fetch it again.')
    for part in content:
        if part not in PARTS:
            raise ValueError(f"The split file {path} has something else: {unknown('list', part[:80], PARTS)}")
    return {
        part: [parse_entry(entry, f"Entry {number} of {part!r} in {path}", images) for number, entry in enumerate(rows)]
        for part, rows in ((part, content[part]) for part in PARTS)
    }


def parse_entry(entry: object, where: str, images: Path) -> Datum:
    """One entry of a split file as Datum; `where` begins the sentence of the ValueError."""
    if not isinstance(entry, list) or len(entry) != 3:
        raise ValueError(f"{where} is {shorten(entry)}, not [path, label, class name].")
    relative, label, name = entry
    if isinstance(label, bool) or not isinstance(label, int) or label < 0:
        raise ValueError(f"{where} has the label {shorten(label)}; labels are whole numbers from 0.")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{where} has the class name {shorten(name)}; it must be a text that is not empty.")
    return Datum(impath=inside(relative, where, images), label=label, classname=name)


def inside(relative: object, where: str, images: Path) -> str:
    """The path `relative` below the folder `images`; ValueError if it leads out of it."""
    if not isinstance(relative, str) or not relative.strip() or "\0" in relative:
        raise ValueError(f"{where} has the path {shorten(relative)}; it must be a path below {images}.")
    if os.path.isabs(relative) or ".." in relative.replace(os.sep, "/").split("/") or os.path.splitdrive(relative)[0]:
        raise ValueError(
            f"{where} has the path {shorten(relative)}, which leads out of {images}; such a file is unsafe."
        )
    return os.path.join(images, os.path.normpath(relative) if "//" in relative or "./" in relative else relative)


def check_classes(parts: Mapping[str, list[Datum]], where: str) -> None:
    """Refuse (ValueError) an empty list, gaps in the labels, two names for a label, classes nothing is trained on.

    Labels are therefore fewer than training images, whatever numbers a file holds.
    """
    for part in ("train", "test"):
        if not parts.get(part):
            raise ValueError(f"{where} lists no image in {part!r}; it cannot be trained and tested on.")
    names: dict[int, str] = {}
    for item in (item for items in parts.values() for item in items or ()):
        if names.setdefault(item.label, item.classname) != item.classname:
            raise ValueError(
                f"{where} gives label {item.label} two class names, {shorten(names[item.label])} and "
                f"{shorten(item.classname)}."
            )
    if min(names) < 0:
        raise ValueError(f"{where} has the label {min(names)} ({shorten(names[min(names)])}); labels count from 0.")
    trained = {item.label for item in parts["train"]}
    absent = next(label for label in count() if label not in trained)
    if absent <= max(names):
        said = f" ({shorten(names[absent])})" if absent in names else ""
        raise ValueError(
            f"{where} has no training image with label {absent}{said}; labels must run from 0 to "
            f"{max(names)} without a gap, and every class needs training images."
        )


def check_names(parts: Parts, where: str) -> None:
    """Refuse (ValueError) a class name that is no text, or that CLIP reads like another's.

    It makes no difference between "Big_cat" and "big  cat", so that no image could be told to be of the one.
    """
    labels: dict[str, int] = {}
    names = {item.label: item.classname for items in parts.values() for item in items}
    for label, name in names.items():
        read = " ".join(unescape(unescape(ftfy.fix_text(name))).replace("_", " ").lower().split())
        if not read or not name.isascii() and name != name.encode(errors="replace").decode():
            raise ValueError(
                f"{where} has the class name {ascii(name)}, which cannot be read as text; give it another."
            )
        other = labels.setdefault(read, label)
        if other != label:
            raise ValueError(
                f"{where} has two classes, {shorten(names[other])} and {shorten(name)}, that CLIP reads as the same "
                f"name, {shorten(read)}; join them or give one another name."
            )


def check_images(parts: Parts, where: str, strict: bool = True, on_disk: bool = False) -> None:
    """Refuse an image that stands in two lists, which would be trained and tested on, or under two classes.

    Args:
        parts: the lists; a list that is handed out twice must not be in here twice.
        where: begins the sentence of the error.
        strict: also refuse an image that stands twice in one list under one class.
        on_disk: look at the files: several paths may lead to one of them, and none may be missing.

    Raises:
        ValueError: for such an image.
        FileNotFoundError: if `on_disk` and there are images missing; it names the first and counts all.
    """
    if not on_disk and len({item.impath for items in parts.values() for item in items}) == sum(
        map(len, parts.values())
    ):
        return  # the usual case, and quicker for a million images
    seen: dict[Hashable, tuple[str, Datum]] = {}
    missing = []
    for part, items in parts.items():
        for item in items:
            key = file_identity(item.impath) if on_disk else item.impath
            if key is None:
                missing.append(item.impath)
                continue
            other_part, other = seen.setdefault(key, (part, item))
            if other is not item and (strict or (other_part, other.label) != (part, item.label)):
                same = "twice" if other.impath == item.impath else f"and {other.impath}, the same file"
                raise ValueError(
                    f"{where} lists {item.impath} {same}: in {other_part!r} as {shorten(other.classname)}, in {part!r} "
                    f"as {shorten(item.classname)}. Every image may stand once, in one list, under one class."
                )
    if missing:
        raise FileNotFoundError(
            f"{len(missing):,} of the {len(missing) + len(seen):,} images that {where} lists are not there: "
            f"{first_few(missing)}. Put them back, or take them off the list (a link's target counts, too)."
        )


def file_identity(path: str) -> Hashable | None:
    """What two paths to the same file have in common; None if there is no file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)


def save_split(parts: Parts, path: Path, images: Path) -> Parts:
    """Save `parts` as split file and return them; if another process was first, its split is returned instead.

    A folder that cannot be written to is no error, it is told in one line.
    """
    rows = {
        part: [[relative(item.impath, images), item.label, item.classname] for item in parts[part]] for part in PARTS
    }
    text = json.dumps(rows, indent=1, ensure_ascii=False)
    if not text.isascii() and text != text.encode(errors="replace").decode():
        text = json.dumps(rows, indent=1)  # a file's name that is not UTF-8 can only be written as its numbers
    try:
        write_atomically(path, text, keep_existing=True)
    except OSError as error:
        print(f"The split could not be saved, and is made again every time: {error}")
        return parts
    return read_split(path, images)


def relative(path: str, images: Path) -> str:
    """`path` below the folder `images`, with forward slashes as in CoOp's files."""
    return os.path.relpath(path, images).replace(os.sep, "/")


def split_by_folder(
    images: Path, names: Mapping[str, str] | None = None, ignored: Sequence[str] = (), tell: bool = False
) -> Parts:
    """Rule P: class folders sorted; of a class's shuffled images the first half trains, the next fifth validates.

    Draws from Python's global generator.

    Args:
        images: folder of the class folders.
        names: class names that differ from their folder's.
        ignored: folders that are no class.
        tell: as for `list_images`.

    Raises:
        ValueError: if there is no class, or a class too small for three parts.
    """
    folders = list_folders(images, ignored)
    if not folders:
        raise ValueError(f"{images} holds no class folder; expected {images}/<class>/<image>.")
    classes = []
    for label, (folder, files) in enumerate(list_images(images, folders, tell).items()):
        if not files:
            raise ValueError(f"The class folder {images / folder} holds no image; expected {images}/<class>/<image>.")
        paths = [os.path.join(images, folder, image) for image in files]
        classes.append([Datum(path, label, classname=(names or {}).get(folder, folder)) for path in paths])
    return split_classes(classes)


def split_classes(classes: list[list[Datum]]) -> Parts:
    """Divide every class's items, shuffled in the order given, into half train, a fifth val, the rest test."""
    parts: Parts = {part: [] for part in PARTS}
    for items in classes:
        items = list(items)
        random.shuffle(items)
        train, val = round(0.5 * len(items)), round(0.2 * len(items))
        if not (train and val and len(items) > train + val):
            name = f"The class {items[0].classname!r} has {len(items)} image(s)" if items else "A class has no image"
            raise ValueError(f"{name}; a split into train, val and test needs at least 4 of each class.")
        parts["train"] += items[:train]
        parts["val"] += items[train : train + val]
        parts["test"] += items[train + val :]
    return parts


def split_trainval(items: list[Datum]) -> tuple[list[Datum], list[Datum]]:
    """Rule T: (train, val), a fifth of every label's shuffled items being val, labels in order of first appearance.

    Draws from Python's global generator. Raises ValueError if a class has too few items to give any.
    """
    groups: dict[int, list[Datum]] = {}
    for item in items:
        groups.setdefault(item.label, []).append(item)
    train, val = [], []
    for group in groups.values():
        random.shuffle(group)
        count = round(0.2 * len(group))
        if not count:
            raise ValueError(
                f"The class {group[0].classname!r} has {len(group)} image(s) to train on; "
                "setting a fifth aside for validation needs at least 3."
            )
        val += group[:count]
        train += group[count:]
    return train, val


def subsample_classes(parts: Parts, subset: str) -> Parts:
    """Keep in every list the classes of `subset` ("all", "base" or "new") and count their labels from 0.

    The training labels, sorted, are halved; base is the first ceil(n / 2). Raises ValueError for another subset, or if
    it has no class.
    """
    if subset not in SUBSETS:
        raise ValueError(unknown("class subset (DATASET.SUBSAMPLE_CLASSES)", subset, SUBSETS))
    if subset == "all":
        return parts
    labels = sorted({item.label for item in parts["train"]})
    half = math.ceil(len(labels) / 2)
    kept = {label: new for new, label in enumerate(labels[:half] if subset == "base" else labels[half:])}
    if not kept:
        raise ValueError(
            f"The data set has {len(labels)} class(es), too few to have new ones; use SUBSAMPLE_CLASSES all."
        )
    return {part: [relabel(item, kept) for item in items if item.label in kept] for part, items in parts.items()}


def relabel(item: Datum, labels: dict[int, int]) -> Datum:
    """The same image under its new label."""
    return Datum(item.impath, labels[item.label], item.domain, item.classname)
