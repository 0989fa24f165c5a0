"""What lies in a data set's folder, listed and read the same on every machine."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptclip.common.packages import require

IMAGE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"])


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


def read_text(path: Path) -> str:
    """The UTF-8 text in a file; ValueError with its name if it holds something else."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); fetch it again.") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds; ValueError with its name if it is none."""
    return parse_json(read_text(path), str(path))


def parse_json(text: str, where: str) -> Any:
    """What JSON text holds; `where` begins the sentence of the ValueError if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not valid JSON ({error}).") from error


def read_lines(path: Path) -> list[str]:
    """Lines of a text file without surrounding blanks, and without empty ones."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Lines "first rest of the line" as pairs; ValueError, naming the line, where there is no rest."""
    pairs = []
    for line in read_lines(path):
        first, _, rest = line.partition(" ")
        if not rest.strip():
            raise ValueError(f"A line of {path} is {line!r}; two entries with a blank between were expected.")
        pairs.append((first, rest.strip()))
    return pairs


def read_whole_number(text: str, path: Path) -> int:
    """A number in a line of `path`; ValueError with the file's name if it is none."""
    if not text.isdecimal():
        raise ValueError(f"{path} has {text!r} where a label, a whole number, was expected.")
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
        raise ValueError(f"{path} does not know {key!r}, which other files of the data set name; fetch it again.")
    return mapping[key]


def read_matlab(path: Path, variable: str) -> Any:
    """A variable of a MATLAB file as NumPy array of one dimension.

    Raises:
        ModuleNotFoundError: with the command that installs scipy.
        ValueError: if the file is damaged or another one.
    """
    require("scipy")
    from scipy.io import loadmat

    try:
        return loadmat(str(path))[variable].reshape(-1)
    except Exception as error:  # whatever a damaged file raises
        raise ValueError(
            f"{path} cannot be read as a MATLAB file with {variable!r} ({type(error).__name__}: {error}); "
            "fetch it again."
        ) from error
