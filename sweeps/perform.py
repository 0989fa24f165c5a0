"""One run to its end, in a process of its own: tried again where that can help, stopped where that is asked for.

Imports nothing heavy: a Slurm job starts here.
"""

import json
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runs.command_line import RESUMABLE
from runs.protocols import is_embedded, keep_last_checkpoint
from sweeps.processes import Process, Processes

REFUSED = 2  # train.py's code for a command that has to be put right
IN_USE = " is in use by "  # in its sentence, if another process is at work in the directory
SHOWN_LINES = 8  # of a broken run's output


@dataclass(frozen=True)
class PlannedRun:
    """One command line of train.py.

    Attributes:
        directory: of the run, as in `argv`; runs of one directory are one run.
        argv: from "train.py" on.
        title: the run in words, for people.
        dataset: its name in directories.
        needs: directory of the training whose checkpoint it evaluates, or None.
        epochs: of that training, or of this one.
        keeps_all: whether every checkpoint stays (somebody asked for a frequency), not only the last.
        kind: what tells how long it takes, most important first: the more of it two runs share, the more alike.
    """

    directory: str
    argv: tuple[str, ...]
    title: str
    dataset: str
    needs: str | None
    epochs: int
    keeps_all: bool
    kind: tuple[str, ...]

    @property
    def trains(self) -> bool:
        """Whether it is a training, not an evaluation."""
        return "--eval-only" not in self.argv


@dataclass(frozen=True)
class Outcome:
    """How a run ended: "done", "broken", "busy" (another process has its directory) or "stopped" (as asked)."""

    kind: str
    seconds: float = 0.0
    lines: tuple[str, ...] = ()


class Runner:
    """Does runs, each in a process of its own; one object for all threads.

    Args:
        processes: starts them.
        retries: how often a broken run is tried again.
        resume: whether a run that somebody else stopped (code 75: it has saved) is resumed at once.
    """

    def __init__(self, processes: Processes, retries: int, resume: bool = True):
        self.processes, self.retries, self.resume = processes, retries, resume
        self.stopping = threading.Event()
        self._running: set[Process] = set()
        self._guard = threading.Lock()

    def perform(self, run: PlannedRun, environment: Mapping[str, str], log: Path) -> Outcome:
        """Run it until it is done, refused, busy, stopped, or broken once more than it may be.

        What it prints goes to `log`, which stays if it broke.
        """
        began, broken = time.monotonic(), 0
        while True:
            code = self._process(run.argv, environment, log)
            seconds = time.monotonic() - began
            if code == 0 and read_record(run).get("complete") is True:
                if run.trains and not run.keeps_all:
                    keep_last_checkpoint(run.directory, run.epochs)
                log.unlink(missing_ok=True)
                return Outcome("done", seconds)
            if code is None or self.stopping.is_set() or (code == RESUMABLE and not self.resume):
                return Outcome("stopped", seconds)
            lines = last_lines(log)
            if code == REFUSED and IN_USE in lines[-1]:
                return Outcome("busy", seconds, lines)
            if code != RESUMABLE:
                broken += 1
                if code == REFUSED or broken > self.retries:
                    return Outcome("broken", seconds, (*lines, ending(code, broken)))
            self.stopping.wait(1)

    def _process(self, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> int | None:
        """The exit code of train.py; None if none may be started any more.

        The process leads a group of its own, so that Ctrl-C in the terminal reaches it through `stop` alone, once; and
        it ends with this one.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        if self.stopping.is_set():
            return None
        process = self.processes.start(argv, environment, log)
        with self._guard:
            self._running.add(process)
            if self.stopping.is_set():  # the signal came while it was started
                process.terminate()
        try:
            return process.wait()
        finally:
            with self._guard:
                self._running.discard(process)
            kill_group(process.pid)

    def stop(self, at_once: bool = False) -> None:
        """Start nothing more, and have all save and end, or kill them."""
        with self._guard:
            self.stopping.set()
            for process in self._running:
                if at_once:
                    kill_group(process.pid)
                else:
                    process.terminate()


def kill_group(leader: int) -> None:
    """Kill what is left of a process group: a killed run's loader workers."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def environment_of(run: PlannedRun) -> dict[str, str]:
    """The environment of a run's process."""
    environment = dict(os.environ)
    if is_embedded(run.dataset):  # its backbone is so small that a second thread only waits
        environment.setdefault("OMP_NUM_THREADS", "1")
    return environment


def ending(code: int, attempts: int) -> str:
    """The last of a broken run's lines: how it ended."""
    if code < 0:
        how = f"killed by {signal.Signals(-code).name}"
    else:
        how = f"ended with code {code}" if code else "ended without a complete metrics.json"
    return f"({how}{f', the last of {attempts} attempts' if attempts > 1 else ''})"


def read_record(run: PlannedRun) -> dict:
    """The record in a run's directory; {} where there is none that can be read."""
    try:
        record = json.loads((Path(run.directory) / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        record = None
    return record if isinstance(record, dict) else {}


def last_lines(log: Path, count: int = SHOWN_LINES) -> tuple[str, ...]:
    """The last lines of a run's output that are not empty; of a line that was rewritten (a bar) its last state."""
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 20_000))
        text = file.read().decode(errors="replace")
    lines = (line.rstrip().rpartition("\r")[2] for line in text.split("\n"))
    return tuple(deque((line for line in lines if line.strip()), maxlen=count)) or ("(it printed nothing)",)
