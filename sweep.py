"""All runs of a table or figure, from one yaml file: what is finished is skipped, the same command resumes.

python sweep.py demo/table1                              a ready specification in sweeps/specs/, or a file
python sweep.py table1 --root /data --jobs 2             two runs at once, each GPU in turn
python sweep.py table1 --root /data seeds=1 datasets=dtd,eurosat OPTIM.LR=0.001
python sweep.py table1 --root /data --launcher slurm --slurm partition=gpu --slurm gpus_per_node=1
python sweep.py table1 --root /data --dry-run            print the commands

Exit codes: 0 all done, 1 some runs broke, 2 the command has to be put right, 75 stopped: the same command resumes.
"""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable

from promptclip.common.console import steady_streams
from promptclip.common.names import require
from runs.command_line import RESUMABLE


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", help="yaml file, or the name of one in sweeps/specs/")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="over the file; of lists, KEY=a,b,c")
    parser.add_argument("--root", default=os.environ.get("DATA", ""), help="directory of the data sets ($DATA)")
    parser.add_argument("--output", default="output", help="root of all results (output, in the repository)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and do nothing")
    parser.add_argument("--jobs", type=whole_number(1), help="runs at once (local: one a GPU, or one; slurm: no limit)")
    parser.add_argument(
        "--retries", type=whole_number(0), default=2, help="how often a run that broke is tried again (2)"
    )
    parser.add_argument("--launcher", choices=("local", "slurm"), default="local")
    parser.add_argument(
        "--slurm", action="append", default=[], metavar="KEY=VALUE", help="for sbatch, as submitit names it: time=60"
    )
    parser.add_argument(
        "--fresh-processes",
        action="store_true",
        help="local: an interpreter of its own for each run, which costs seconds",
    )
    parser.add_argument("--python", default=sys.executable, help="interpreter of the runs (the one of this program)")
    return parser


def whole_number(least: int) -> Callable[[str], int]:
    """Reads a whole number from `least` on."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least}")
        return int(text)

    return read


def main(argv: list[str] | None = None) -> int:
    """Do the sweep; returns the exit code."""
    with steady_streams():
        return attempt(build_parser().parse_intermixed_args(argv))


def attempt(args: argparse.Namespace) -> int:
    """Do the sweep that `args` describe, or say why not; returns the exit code."""
    try:
        require("torch", "clip", "dassl", "yacs", "tabulate", "rich")
        from sweeps.session import Session  # only now: it imports what `require` looked for

        session = Session(args)
        if args.dry_run:
            for done, command in session.commands():
                print(f"{'# done: ' if done else ''}{shlex.join(command)}")
            return 0
        problems = session.prepare()
    except KeyboardInterrupt:
        print("\nstopped: nothing was begun", file=sys.stderr)
        return RESUMABLE
    except (ValueError, LookupError, OSError, ImportError) as error:
        problems = [str(error.args[0] if isinstance(error, KeyError) else error)]
    if problems:
        for text in problems:
            print(f"error: {' '.join(text.split())}", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, session.stop)
    try:
        return session.run()
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
