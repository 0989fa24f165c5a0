"""The console command `promptclip`: its version, and which CLIPs it can load."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

VERSION = "0.1.0"
"""Of this project: pyproject.toml reads it here, so that it also holds in a checkout that was never installed."""


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: the arguments; those of the process if None.

    Returns:
        The exit code: 0 done, 2 where a package is missing (told in one sentence on stderr).
    """
    parser = argparse.ArgumentParser(prog="promptclip", description="CLIP with prompts in its two towers.")
    parser.add_argument("--version", action="version", version=f"promptclip {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    listing = "list the CLIPs that can be loaded by name, and where their weights are"
    commands.add_parser("backbones", help=listing, description=f"{listing.capitalize()}.")
    parser.parse_args(argv)
    try:
        for line in backbones():
            print(line)
        if sys.stdout is not None:  # it is None where it was closed
            sys.stdout.flush()
    except ModuleNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as `head`, has had enough; nothing is left for exiting to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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
