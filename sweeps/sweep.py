"""One sweep from command line to exit code."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from runs.signals import RESUMABLE

from promptclip.common.names import require
from sweeps.board import Board
from sweeps.clock import Clock
from sweeps.local import Local, gpus
from sweeps.perform import Manner
from sweeps.plan import make_plan
from sweeps.spec import find_spec, read_spec, rows_of
from sweeps.state import finished
from sweeps.summary import closing, write_rows
from sweeps.view import stdout_view

if TYPE_CHECKING:
    from sweeps.slurm import Slurm


class Sweep:
    """A specification, its plan, and how far it is.

    Raises ValueError, KeyError or OSError, in one sentence with the nearest valid name, for what cannot be right.
    """

    def __init__(self, args: argparse.Namespace, output: str, root: str):
        self.args, self.output, self.root = args, output, root
        self.path = find_spec(args.spec).absolute()
        self.spec = read_spec(self.path, args.changes)
        self.hurry = False

    def prepare(self) -> None:
        """Plan, and see what is done; the working directory is the repository by now."""
        self.plan = make_plan(rows_of(self.spec), self.output, self.root)
        self.folder = Path(self.output, "sweeps", self.spec["name"])
        devices = gpus() if self.args.launcher == "local" else []
        self.jobs = self.args.jobs or max(1, len(devices))
        at_once = self.args.jobs or len(self.plan.runs) if self.args.launcher == "slurm" else self.jobs
        self.board = Board(self.plan, stdout_view(self.spec["name"]), Clock(at_once))
        if not self.args.dry_run:
            self.launcher = self.make_launcher(devices)

    def make_launcher(self, devices: list[str]) -> "Local | Slurm":
        """The launcher that --launcher names."""
        manner = Manner((self.args.python,), self.args.retries)
        if self.args.launcher == "local":
            return Local(self.plan, manner, self.folder, self.jobs, devices, self.board)
        require("submitit")
        from sweeps.slurm import Slurm  # only now: not everybody has submitit

        return Slurm(self.plan, manner, self.folder, slurm_options(self.args), self.board)

    def done_before(self) -> list[str]:
        """Directories of the runs that are finished; an evaluation is only if its training is."""
        done: list[str] = []
        for run in self.plan.runs.values():
            try:
                if (not run.needs or run.needs in done) and finished(run, self.plan.configs[run.directory]):
                    done.append(run.directory)
            except ValueError:
                continue  # a directory of another run: the launcher will say so
        return done

    def commands(self) -> Iterator[tuple[bool, list[str]]]:
        """Every command line, and whether it is done."""
        done = self.done_before()
        for run in self.plan.runs.values():
            yield run.directory in done, [self.args.python, *run.argv]

    def run(self) -> int:
        """Do what is left; the exit code."""
        write_rows(self.folder.with_name(f"{self.spec['name']}.json"), self.spec, self.plan, self.output)
        before = self.done_before()
        self.board.states |= dict.fromkeys(before, "done")
        self.board.clock.read(self.plan.runs[directory] for directory in before)
        total, how = len(self.plan.runs), self.launcher.how
        print(f"{self.spec['name']}: {total} runs, {len(before)} done before, {how}.", flush=True)
        try:
            self.launcher.run()
        finally:
            self.board.view.close()
            for folder in (self.folder / "logs", self.folder):
                with suppress(OSError):  # something is in it
                    folder.rmdir()
        print("\n".join(closing(self.board, self.folder / "logs")), flush=True)
        if self.board.of("broken", "not run"):
            return 1
        return RESUMABLE if self.board.left() else 0

    def stop(self, number: int, frame: FrameType | None) -> None:
        """For SIGINT and SIGTERM: have the runs save and end; at once, if asked for again."""
        self.launcher.stop(self.hurry)
        if not self.hurry:
            print(f"\n{self.launcher.farewell}", file=sys.stderr, flush=True)
        self.hurry = True


def slurm_options(args: argparse.Namespace) -> dict[str, Any]:
    """The KEY=VALUE pairs of --slurm, and --jobs, as submitit's parameters. Raises ValueError."""
    options: dict[str, Any] = {}
    for pair in args.slurm:
        key, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"--slurm {pair} is not KEY=VALUE, such as --slurm partition=gpu.")
        options[key.removeprefix("slurm_")] = int(text) if text.isdecimal() else text
    return options | ({"array_parallelism": args.jobs} if args.jobs else {})
