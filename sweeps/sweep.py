"""One sweep from command line to exit code."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

from runs.signals import RESUMABLE
from sweeps.board import Board
from sweeps.clock import Clock
from sweeps.local import Local, gpus
from sweeps.plan import Place, make_plan
from sweeps.spec import find_spec, read_spec, rows_of
from sweeps.state import finished
from sweeps.summary import closing, write_rows
from sweeps.view import stdout_view


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
        self.plan = make_plan(rows_of(self.spec), Place(self.output, self.root))
        self.folder = Path(self.output, "sweeps", self.spec["name"])
        devices = gpus() if self.args.launcher == "local" else []
        self.jobs = self.args.jobs or max(1, len(devices))
        self.board = Board(self.plan, stdout_view(self.spec["name"]), Clock(self.jobs))
        if not self.args.dry_run:
            self.launcher = self.make_launcher(devices)

    def make_launcher(self, devices: list[str]) -> Local:
        """The launcher that --launcher names."""
        common = (self.plan, self.args.python, self.folder)
        if self.args.launcher == "local":
            return Local(*common, self.jobs, self.args.retries, devices, self.board)
        from sweeps.slurm import Slurm

        return Slurm(*common, self.args.jobs, self.args.retries, self.args.slurm, self.board)

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
        total = len(self.plan.runs)
        print(f"{self.spec['name']}: {total} runs, {len(before)} done before, {self.jobs} at once.", flush=True)
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
            print("\nstopping: the runs save and end (again: at once)", file=sys.stderr, flush=True)
        self.hurry = True
