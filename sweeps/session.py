"""One sweep from command line to exit code."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from promptclip.common.files import write_atomically
from promptclip.common.names import require
from runs.command_line import RESUMABLE
from runs.protocols import is_embedded
from sweeps.checks import finished, input_problems
from sweeps.ending import table
from sweeps.local import Local, gpus
from sweeps.perform import Runner
from sweeps.plan import make_plan
from sweeps.processes import REPOSITORY, Fresh, Kept
from sweeps.progress import Progress
from sweeps.spec import find_spec, read_spec, rows_of
from sweeps.view import make_view, summary

if TYPE_CHECKING:
    from sweeps.slurm import Slurm


class Session:
    """A sweep that is planned; the working directory is the repository from then on, as for scripts.

    Args:
        args: sweep.py's command line.

    Raises:
        ValueError, KeyError, OSError: for what cannot be right, in one sentence with the nearest valid name.
    """

    def __init__(self, args: argparse.Namespace):
        self.args = args
        if not args.output:
            raise ValueError("--output is empty; name the root of all results, or leave it out for output/ here.")
        self.output = "output" if args.output == "output" else absolute(args.output)
        root = absolute(args.root) if args.root else ""
        self.python = absolute(args.python) if os.sep in args.python else args.python
        self.spec = read_spec(find_spec(args.spec).absolute(), args.changes)
        os.chdir(REPOSITORY)
        self.plan = make_plan(rows_of(self.spec), self.output, root)
        self.done = self.done_before()
        self.folder = Path(self.output, "sweeps", self.spec["name"])
        self.stopping = False

    def done_before(self) -> list[str]:
        """Directories of the runs that are finished; an evaluation is only if its training is."""
        done: list[str] = []
        for run in self.plan.runs.values():
            with suppress(ValueError):  # a directory of another run: the launcher will say so
                if (not run.needs or run.needs in done) and finished(run, self.plan.configs[run.directory]):
                    done.append(run.directory)
        return done

    def commands(self) -> Iterator[tuple[bool, list[str]]]:
        """Every command line, and whether it is done."""
        for run in self.plan.runs.values():
            yield run.directory in self.done, [self.python, *run.argv]

    def prepare(self) -> list[str]:
        """Make the launcher, and see whether what the runs need is there: what is not, a sentence each."""
        slurm = self.args.launcher == "slurm"
        devices = [] if slurm else gpus()
        jobs = self.args.jobs or (len(self.plan.runs) if slurm else max(1, len(devices)))
        self.progress = Progress(self.plan, jobs)
        self.progress.done_before(self.done)
        if slurm:
            self.launcher = self.slurm_launcher()
        else:
            own = shutil.which(self.python) == sys.executable  # else it is another that would have to be forked
            forks = own and not devices and hasattr(os, "fork") and not self.args.fresh_processes
            self.processes = Kept() if forks else Fresh((self.python,))
            runner = Runner(self.processes, self.args.retries)
            self.launcher = Local(self.plan, runner, self.folder, jobs, devices, self.progress)
        if shutil.which(self.python) is None:
            return [f"there is no interpreter {self.python!r}; --python names that of the runs."]
        left = self.progress.unfinished()
        if not all(is_embedded(run.dataset) for run in left):
            print("Looking whether data sets and weights are there.", flush=True)  # ImageNet takes a while
        return input_problems(self.plan.configs[run.directory] for run in left)

    def slurm_launcher(self) -> "Slurm":
        """The launcher for Slurm. Raises ValueError for options that it does not know, and without Slurm."""
        require("submitit")
        from sweeps.slurm import Slurm  # only now: not everybody has submitit

        options = slurm_options(self.args)
        return Slurm(self.plan, self.python, self.args.retries, self.folder, options, self.progress)

    def run(self) -> int:
        """Do what is left; the exit code."""
        name, total = self.spec["name"], len(self.plan.runs)
        self.write_rows()
        view = make_view(self.progress, sys.stdout, name)
        print(f"{name}: {total} runs, {len(self.done)} done before, {self.launcher.description}.", flush=True)
        try:
            self.launcher.run(view.refresh)
        finally:
            view.close()
            if self.args.launcher != "slurm":
                self.processes.close()
            for folder in (self.folder / "logs", self.folder):
                with suppress(OSError):  # something is in it
                    folder.rmdir()
        print("\n".join(summary(self.progress, self.folder / "logs")), flush=True)
        if self.progress.having("broken", "not run"):
            return 1
        if self.progress.unfinished():
            return RESUMABLE
        if shown := table(name, self.output):
            print(shown, flush=True)
        return 0

    def write_rows(self) -> None:
        """Write `{"name", "spec", "rows": [{"label", "runs": [directory below the output]}]}` for report/."""
        rows = [
            {"label": label, "runs": [os.path.relpath(directory, self.output) for directory in directories]}
            for label, directories in self.plan.rows
        ]
        content = {"name": self.spec["name"], "spec": self.spec, "rows": rows}
        file = self.folder.with_name(f"{self.spec['name']}.json")
        write_atomically(file, json.dumps(content, indent=2, default=str) + "\n")

    def stop(self, number: int, frame: FrameType | None) -> None:
        """For SIGINT and SIGTERM: have the runs save and end; at once, if asked for again."""
        self.launcher.stop(self.stopping)
        if not self.stopping:
            print(f"\n{self.launcher.stop_message}", file=sys.stderr, flush=True)
        self.stopping = True


def absolute(path: str) -> str:
    """A path of the caller's, wherever we go; `~` is the home directory even where the shell left it."""
    return os.path.abspath(os.path.expanduser(path))


def slurm_options(args: argparse.Namespace) -> dict[str, Any]:
    """The KEY=VALUE pairs of --slurm, and --jobs, as submitit's parameters. Raises ValueError."""
    options: dict[str, Any] = {}
    for pair in args.slurm:
        key, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"--slurm {pair} is not KEY=VALUE, such as --slurm partition=gpu.")
        options[key.removeprefix("slurm_")] = int(text) if text.isdecimal() else text
    return options | ({"array_parallelism": args.jobs} if args.jobs else {})
