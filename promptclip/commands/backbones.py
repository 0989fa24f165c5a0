"""Which CLIPs can be loaded by name, and where their weights are."""

import argparse
from collections.abc import Iterator
from pathlib import Path

HELP = "list the CLIPs that can be loaded by name, and where their weights are"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    for line in backbones():
        print(line)
    return 0


def backbones() -> Iterator[str]:
    """One line for each name that `promptclip.load_clip` knows: the name, and where its weights are.

    Raises:
        ModuleNotFoundError: torch or clip is not installed.
    """
    from promptclip import EMBEDDED, backbone_names  # only now: torch takes seconds

    for name in backbone_names():
        file = _downloaded_file(name) if name not in EMBEDDED else None
        if file is None:
            where = "embedded"
        elif file.is_file():
            where = str(file)
        else:
            where = f"not downloaded; clip fetches it at first use to {file}"
        yield f"{name:16} {where}"


def _downloaded_file(name: str) -> Path:
    """Where clip keeps the weights of one of its models."""
    from clip.clip import _MODELS  # the table of addresses; the files are called as they are there

    return Path("~/.cache/clip").expanduser() / _MODELS[name].rpartition("/")[2]
