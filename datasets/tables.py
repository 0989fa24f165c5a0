"""Reading the text, JSON and MATLAB files in which data sets state their labels."""

import json
from pathlib import Path
from typing import Any

from promptclip.common.names import require


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 file without surrounding blanks and without empty ones; ValueError if it is not UTF-8."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); fetch it again.") from error
    return [line.strip() for line in lines if line.strip()]


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
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise ValueError(f'{path} must hold names by key, as {{"first": "a name", "second": "another"}}.')
    return content


def lookup(mapping: dict[str, Any], key: str, path: Path) -> Any:
    """mapping[key]; ValueError, naming the file the mapping was read from, if it lacks the key."""
    if key not in mapping:
        raise ValueError(f"{path} does not know {key!r}, which other files of the data set name; fetch it again.")
    return mapping[key]


def read_matlab(path: Path, variable: str) -> Any:
    """A variable of a MATLAB file as NumPy array, one dimension.

    Raises ModuleNotFoundError with the command that installs scipy, ValueError if the file is damaged or another one.
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
