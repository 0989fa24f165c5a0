"""The console command `promptclip`: one subcommand for each file in `promptclip/commands/`."""

import argparse
import sys
from importlib import import_module
from pkgutil import iter_modules

from promptclip import commands
from promptclip.common.console import steady_streams

VERSION = "0.1.0"
"""Of this project: pyproject.toml reads it here, so that it also holds in a checkout that was never installed."""


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: the arguments; those of the process if None.

    Returns:
        The exit code: 0 done, 1 done but for some images, 2 not done, for a reason told in one sentence on stderr,
        130 interrupted.
    """
    parser = argparse.ArgumentParser(prog="promptclip", description="CLIP with prompts in its two towers.")
    parser.add_argument("--version", action="version", version=f"promptclip {VERSION}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    runs = {}
    for found in iter_modules(commands.__path__):
        command = import_module(f"{commands.__name__}.{found.name}")
        one = subparsers.add_parser(found.name, help=command.HELP, description=f"{_capital(command.HELP)}.")
        command.add_arguments(one)
        runs[found.name] = command.run
    args = parser.parse_args(argv)
    with steady_streams():
        try:
            return runs[args.command](args)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return 130
        except (ValueError, OSError, ImportError) as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
