"""The Slurm launcher: runs become job arrays through submitit, evaluations wait for their trainings, all is watched."""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import submitit

from promptclip.common.files import write_atomically
from sweeps.checks import finished, try_lock
from sweeps.local import file_name
from sweeps.perform import Outcome, PlannedRun, last_lines, read_record
from sweeps.plan import Plan
from sweeps.progress import Progress
from sweeps.task import Task

DEFAULTS = {"job_name": "sweep", "time": 24 * 60, "nodes": 1, "ntasks_per_node": 1, "cpus_per_task": 4}
TIMEOUTS = 1000  # how often a job whose time is over is queued again
ARRAY_SIZE = 1000  # jobs in an array at most; Slurm's own limit is 1001
LOOK_SECONDS = 2.0  # between two looks at the queue
MISSED_LOOKS = 3  # looks until a job that is not in the queue has ended (files may take a moment to appear)


class Slurm:
    """Submits the runs of a plan and watches them. Jobs run on without it; `folder`/jobs.json remembers them.

    Args:
        plan: what to do.
        python: interpreter of the jobs and of their runs.
        retries: how often a broken run is tried again.
        folder: of this sweep, for jobs and what they print.
        options: of sbatch, by submitit's names.
        progress: is told what happens.

    Raises:
        ValueError: for an option that submitit does not know, and without Slurm.
    """

    stop_message = "The jobs stay in Slurm; the same command watches them again, scancel ends them."
    description = "handed to Slurm"

    def __init__(
        self, plan: Plan, python: str, retries: int, folder: Path, options: dict[str, Any], progress: Progress
    ):
        self.plan, self.folder, self.progress = plan, folder.absolute(), progress
        self.python, self.retries = python, retries
        self.leaving = False
        self.jobs: dict[str, str] = {}  # directory: job
        self.missed: dict[str, int] = {}
        try:
            self.executor = submitit.SlurmExecutor(
                self.folder / "slurm", max_num_timeout=TIMEOUTS, python=shlex.quote(python)
            )
            self.executor.update_parameters(**(DEFAULTS | options))
        except (RuntimeError, ValueError, TypeError) as error:
            raise ValueError(f"--launcher slurm: {' '.join(str(error).split())}") from error

    def stop(self, at_once: bool) -> None:
        """Leave the jobs to Slurm."""
        self.leaving = True

    def run(self, refresh: Callable[[], None]) -> None:
        """Submit what is not submitted, and watch until all has ended.

        Args:
            refresh: called at every look, to show how far it is.
        """
        lock = try_lock(self.folder / "lock")
        if lock is None:
            raise OSError(f"another sweep.py watches {self.folder}; wait for it, or end it.")
        try:
            self.recall()
            self.submit()
            while self.progress.unfinished() and not self.leaving:
                self.look()
                refresh()
                time.sleep(LOOK_SECONDS)
        finally:
            lock.release()

    # ---- submitting ----

    def recall(self) -> None:
        """Find the jobs of an earlier start that are still in the queue."""
        try:
            known = json.loads((self.folder / "jobs.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        queue = self.queue()
        while queue is None:
            time.sleep(LOOK_SECONDS)
            queue = self.queue()
        self.jobs = {place: job for place, job in known.items() if place in self.plan.runs and job in queue}

    def submit(self) -> None:
        """Trainings in arrays; their evaluations in arrays whose k-th job waits for the k-th training."""
        left = [run for run in self.progress.unfinished() if run.directory not in self.jobs]
        free = [run for run in left if not run.needs or self.progress.state(run.needs) == "done"]
        bound = [run for run in left if run not in free]
        followers = {run.directory: [one for one in bound if one.needs == run.directory] for run in free}
        for count in sorted({len(found) for found in followers.values()}):
            equal = [run for run in free if len(followers[run.directory]) == count]
            for start in range(0, len(equal), ARRAY_SIZE):
                part = equal[start : start + ARRAY_SIZE]
                first = self.array(part)
                for turn in range(count):
                    self.array([followers[run.directory][turn] for run in part], first)
        for run in bound:
            if run.directory not in self.jobs:  # its training was submitted by an earlier start
                self.array([run], self.jobs.get(run.needs))

    def array(self, runs: list[PlannedRun], after: str | None = None) -> str:
        """Submit runs as one array (or job), to wait for the array (or job) `after`; its number."""
        conditions = {"open-mode": "append", "requeue": True}
        if after:
            kind = "aftercorr" if len(runs) > 1 else "afterok"
            conditions |= {"dependency": f"{kind}:{after}", "kill-on-invalid-dep": "yes"}
        self.executor.update_parameters(additional_parameters=conditions)
        with self.executor.batch():
            submitted = [self.executor.submit(self.task(run)) for run in runs]
        self.jobs |= {run.directory: job.job_id for run, job in zip(runs, submitted, strict=True)}
        write_atomically(self.folder / "jobs.json", json.dumps(self.jobs, indent=2) + "\n")
        return submitted[0].job_id.partition("_")[0]

    def task(self, run: PlannedRun) -> Task:
        """What the run's job does."""
        return Task(run, (self.python,), self.retries, str(self.log(run)))

    def log(self, run: PlannedRun) -> Path:
        """Where the run's output goes."""
        return self.folder / "logs" / f"{file_name(run)}.txt"

    # ---- watching ----

    @staticmethod
    def queue() -> dict[str, tuple[str, str]] | None:
        """Job to (state, reason) of one's own jobs; None if Slurm does not answer now."""
        user = str(os.getuid())
        command = ["squeue", "-h", "-r", "-u", user, "-o", "%i|%T|%r"]
        try:
            shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return None
        rows = [line.split("|") for line in shown.splitlines()]
        return {job: (state, reason) for job, state, reason in rows}

    def look(self) -> None:
        """Bring the board up to what the queue and the records say."""
        queue = self.queue()
        if queue is None:
            return
        for run in self.progress.unfinished():
            state, reason = queue.get(self.jobs[run.directory], (None, ""))
            if state is None:
                self.missed[run.directory] = self.missed.get(run.directory, 0) + 1
                self.ended(run)
            elif reason == "DependencyNeverSatisfied":
                self.progress.set(run, "not run")
            else:
                self.missed.pop(run.directory, None)
                self.progress.set(run, "waiting" if state in ("PENDING", "REQUEUED") else "running")

    def ended(self, run: PlannedRun) -> None:
        """A job that is not in the queue: done, or, once that is sure, broken."""
        try:
            done = finished(run, self.plan.configs[run.directory])
        except ValueError as error:
            self.progress.set(run, "broken", Outcome("broken", lines=(str(error),)))
            return
        if done:
            self.progress.set(run, "done", Outcome("done", float(read_record(run).get("wall_seconds") or 0)))
        elif self.missed[run.directory] >= MISSED_LOOKS:
            if run.needs and self.progress.state(run.needs) != "done":
                if self.progress.state(run.needs) in ("broken", "not run"):
                    self.progress.set(run, "not run")
                return
            log = self.log(run)
            lines = last_lines(log) if log.is_file() else (f"Slurm's job {self.jobs[run.directory]} left no output",)
            self.progress.set(run, "broken", Outcome("broken", lines=lines))
