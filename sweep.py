"""All runs of a table or figure, from one yaml file: what is finished is skipped, the same command goes on.

python sweep.py demo/table1                              a ready specification in sweeps/specs/, or a file
python sweep.py table1 --root /data --jobs 2             two runs at once, each GPU in turn
python sweep.py table1 --root /data seeds=1 datasets=dtd,eurosat OPTIM.LR=0.001
python sweep.py table1 --root /data --launcher slurm --slurm partition=gpu --slurm gpus_per_node=1
python sweep.py table1 --root /data --dry-run            print the commands

Exit codes: 0 all done, 1 some runs broke, 2 the command has to be put right, 75 stopped: the same command goes on.
"""

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path

from runs.signals import RESUMABLE

from promptclip.common.names import require

REPOSITORY = Path(__file__).resolve().parent


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", help="yaml file, or the name of one in sweeps/specs/")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="over the file; of lists, KEY=a,b,c")
    parser.add_argument("--root", default=os.environ.get("DATA", ""), help="directory of the data sets ($DATA)")
    parser.add_argument("--output", default="output", help="root of all results (output, in the repository)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and do nothing")
    parser.add_argument("--jobs", type=positive, help="runs at once (local: one a GPU, or one; slurm: no limit)")
    parser.add_argument("--retries", type=natural, default=2, help="how often a run that broke is tried again (2)")
    parser.add_argument("--launcher", choices=("local", "slurm"), default="local")
    parser.add_argument(
        "--slurm", action="append", default=[], metavar="KEY=VALUE", help="for sbatch, as submitit names it: time=60"
    )
    parser.add_argument("--python", default=sys.executable, help="interpreter of the runs (the one of this program)")
    return parser


def natural(text: str) -> int:
    """A whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1."""
    if natural(text) < 1:
        raise argparse.ArgumentTypeError("at least one run at once is needed")
    return int(text)


def main(argv: list[str] | None = None) -> int:
    """Do the sweep; returns the exit code."""
    args = build_parser().parse_intermixed_args(argv)
    try:
        require("torch", "clip", "dassl", "yacs", "tabulate", "filelock")
        from sweeps.sweep import Sweep  # only now: it imports what `require` looked for

        place = [absolute(args.output) if args.output != "output" else "output", absolute(args.root)]
        sweep = Sweep(args, *place)
        os.chdir(REPOSITORY)  # paths in commands and records are as the scripts' are
        sweep.prepare()
    except KeyboardInterrupt:
        print("\nstopped: nothing was begun", file=sys.stderr)
        return RESUMABLE
    except (ValueError, LookupError, OSError, ImportError) as error:
        text = str(error.args[0] if isinstance(error, KeyError) else error)
        print(f"error: {' '.join(text.split())}", file=sys.stderr)
        return 2
    if args.dry_run:
        for done, command in sweep.commands():
            print(f"{'# done: ' if done else ''}{shlex.join(command)}")
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, sweep.stop)
    try:
        return sweep.run()
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def absolute(path: str) -> str:
    """A path of the caller's, wherever we go; nothing stays nothing."""
    return os.path.abspath(path) if path else ""


if __name__ == "__main__":
    sys.exit(main())
