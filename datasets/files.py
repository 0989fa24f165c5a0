"""What lies in a data set's folder, listed and read the same on every machine and never more than the files justify."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

IMAGE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"])
LARGEST = 2**28
"""Bytes of a list of images; that of a million images has some hundred million."""


def is_image(name: str) -> bool:
    """Whether a file of that name is taken for an image: not hidden, and with a usual suffix in any case."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def list_images(root: Path, folders: Iterable[str], tell: bool = False) -> dict[str, list[str]]:
    """{folder: names of the images directly in it}, for `folders` below `root`.

    Names are sorted: file systems list in any order, samples must not follow.

    Args:
        root: a folder.
        folders: names of folders in it, or paths below it.
        tell: print a line about what else lies in them and is not used.

    Raises:
        FileNotFoundError: if links lead nowhere; it names the first and counts all, so that no set shrinks unnoticed.
        OSError: if a folder cannot be read.
    """
    found, dangling, others = {}, [], []
    for folder in folders:
        names = []
        for entry in _scan(root / folder):
            if is_image(entry.name) and _leads_nowhere(entry):
                dangling.append(os.path.join(folder, entry.name))
            elif is_image(entry.name) and entry.is_file():
                names.append(entry.name)
            elif not entry.name.startswith("."):
                others.append(os.path.join(folder, entry.name))
        found[folder] = sorted(names)
    _refuse_dangling(root, dangling)
    if tell and others:
        listed = first_few(sorted(others))
        print(f"Not used are {len(others):,} files or folders in {root} whose names are not those of images: {listed}.")
    return found


def list_folders(folder: Path, ignored: Sequence[str] = ()) -> list[str]:
    """Names of the folders directly in `folder` that are not hidden, sorted; raises as `list_images`."""
    entries = [entry for entry in _scan(folder) if not entry.name.startswith(".") and entry.name not in ignored]
    _refuse_dangling(folder, [entry.name for entry in entries if _leads_nowhere(entry)])
    return sorted(entry.name for entry in entries if entry.is_dir())


def _scan(folder: Path) -> Iterator[os.DirEntry]:
    """The entries of a folder; OSError with a sentence if it cannot be read, or entered (files in it would vanish)."""
    try:
        with os.scandir(folder) as entries:
            yield from entries
        readable = os.access(folder, os.R_OK | os.X_OK)
    except PermissionError:
        readable = False
    if not readable:
        raise PermissionError(f"The folder {folder} cannot be read; give this user the right to (chmod u+rx).")


def _leads_nowhere(entry: os.DirEntry) -> bool:
    """Whether it is a symbolic link to something that does not exist or cannot be reached."""
    return entry.is_symlink() and not os.path.exists(entry.path)


def is_there(path: Path) -> bool:
    """Whether a file exists that need not; FileNotFoundError if it is a link to one that does not."""
    if path.is_symlink() and not path.exists():
        _refuse_dangling(path.parent, [path.name])
    return path.is_file()


def _refuse_dangling(root: Path, names: list[str]) -> None:
    """Raise FileNotFoundError if there are names of links that lead nowhere."""
    if names:
        raise FileNotFoundError(
            f"{len(names)} link(s) in {root} lead to files that are not there: {first_few(sorted(names))}. "
            "Fetch these files (`git annex get .` where git-annex made the links), or delete the links."
        )


def first_few(names: Sequence[str], count: int = 3) -> str:
    """The first few of a list, and how many more there are."""
    more = f" and {len(names) - count:,} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def shorten(value: object) -> str:
    """`value` as it is written in Python, cut where it is long."""
    text = repr(value[:80] if isinstance(value, str) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def read_text(path: Path) -> str:
    """The UTF-8 text in a file; ValueError with its name if it holds something else, or more than lists do."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST:,} bytes, which no list of images or names is.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); fetch it again.") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds; ValueError as `parse_json`, with the file's name."""
    return parse_json(read_text(path), str(path))


def parse_json(text: str, where: str) -> Any:
    """What JSON text holds; `where` begins the sentence of the ValueError if it is none, or has a key twice.

    An empty list has two characters and takes 56 bytes, so that text of hardly anything but brackets is refused, too.
    """
    if text.count("[") + text.count("{") > 1000 + len(text) // 8:
        raise ValueError(f"{where} is not valid JSON of this kind (it is made of brackets).")
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not valid JSON ({error}).") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The dict of a JSON object; ValueError if a key stands in it twice, of which one would be lost."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {shorten(key)} stands in it twice")
        found[key] = value
    return found


def read_lines(path: Path) -> list[str]:
    """Lines of a text file without surrounding blanks, and without empty ones."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Lines "first rest of the line" as pairs; ValueError, naming the line, where there is no rest."""
    pairs = []
    for line in read_lines(path):
        first, _, rest = line.partition(" ")
        if not rest.strip():
            raise ValueError(f"A line of {path} is {shorten(line)}; two entries with a blank between were expected.")
        pairs.append((first, rest.strip()))
    return pairs


def read_keyed(path: Path) -> dict[str, str]:
    """Lines "key rest of the line" as {key: rest}; ValueError, naming the line, for a key that stands there twice."""
    found: dict[str, str] = {}
    for key, rest in read_pairs(path):
        if found.setdefault(key, rest) is not rest:
            raise ValueError(f"{path} has {shorten(key)} in two lines; fetch it again, or delete one.")
    return found


def read_order(path: Path) -> dict[str, int]:
    """{line: its number from 0} of a list of names; ValueError for a name that stands there twice."""
    found: dict[str, int] = {}
    for number, line in enumerate(read_lines(path)):
        if found.setdefault(line, number) != number:
            raise ValueError(f"{path} has {shorten(line)} in two lines; fetch it again, or delete one.")
    return found


def read_whole_number(text: str, path: Path) -> int:
    """A number in a line of `path`; ValueError with the file's name if it is none."""
    if not text.isdecimal() or len(text) > 9:
        raise ValueError(f"{path} has {shorten(text)} where a label, a whole number, was expected.")
    return int(text)


def read_mapping(path: Path) -> dict[str, str]:
    """A JSON file {text: text}; ValueError with the file's name if it is something else."""
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise ValueError(f'{path} must hold names by key, as {{"first": "a name", "second": "another"}}.')
    return content


def lookup(mapping: Mapping[str, Any], key: str, path: Path) -> Any:
    """mapping[key]; ValueError, naming the file the mapping was read from, if it lacks the key."""
    if key not in mapping:
        raise ValueError(
            f"{path} does not know {shorten(key)}, which other files of the data set name; fetch it again."
        )
    return mapping[key]
