"""What a Slurm job does: one run, saved and queued again when Slurm wants the machine back or the time is over."""

import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from sweeps.perform import Outcome, PlannedRun, Runner, environment_of
from sweeps.processes import Fresh

TICK_SECONDS = 0.2
IN_USE_SECONDS = 10.0  # between two looks at a directory that is in use
# Slurm's warning reaches every process of the job and would end train.py, which is told by SIGTERM instead.
IGNORING_WARNINGS = ("sh", "-c", 'trap "" USR1 USR2; exec "$@"', "sh")


@dataclass
class Task:
    """Called by submitit in the job; `checkpoint` is called there when the job gets SIGUSR2."""

    run: PlannedRun
    python: tuple[str, ...]
    retries: int
    log: str

    def __call__(self) -> None:
        """Do the run. Raises RuntimeError if it broke, so that Slurm does not start what needs it."""
        self._runner = Runner(Fresh((*IGNORING_WARNINGS, *self.python)), self.retries, resume=False)
        signal.signal(signal.SIGTERM, self._terminate)
        while (outcome := self._perform()).kind == "busy":
            time.sleep(IN_USE_SECONDS)
        if outcome.kind == "stopped":
            queue_again()
            raise RuntimeError("stopped by a signal, saved")
        if outcome.kind != "done":
            raise RuntimeError("\n".join(outcome.lines))

    def checkpoint(self) -> Any:
        """Have the run save and end; submitit then has Slurm queue the job again."""
        from submitit.helpers import DelayedSubmission

        self._runner.stop()
        while not self._work.done():
            time.sleep(TICK_SECONDS)
        return DelayedSubmission(Task(self.run, self.python, self.retries, self.log))

    def _perform(self) -> Outcome:
        """The run, in a thread, so that signals are heard meanwhile."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            self._work = pool.submit(self._runner.perform, self.run, environment_of(self.run), Path(self.log))
            while not self._work.done():
                time.sleep(TICK_SECONDS)
        return self._work.result()

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        """SIGTERM: have the run save and end."""
        threading.Thread(target=self._runner.stop).start()


def queue_again() -> None:
    """Ask Slurm to queue this job again, unless it was cancelled, or Slurm is at it already."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
    time.sleep(1)  # until Slurm has noted why it sent the signal
    shown = subprocess.run(["scontrol", "show", "job", "-o", job], capture_output=True, text=True, timeout=60)
    if "JobState=RUNNING" in shown.stdout:
        subprocess.run(["scontrol", "requeue", job], check=True, timeout=60)
        time.sleep(60)  # it ends us; ending by ourselves would count as broken
