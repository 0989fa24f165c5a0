"""One run to its end, in a process of its own: tried again where that can help, stopped where that is asked for.

Imports nothing heavy: a Slurm job starts here.
"""

import json
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runs.signals import RESUMABLE

from runs.protocols import keep_last_checkpoint
from sweeps.run import Run

REPOSITORY = Path(__file__).parents[1]
REFUSED = 2  # train.py's code for a command that has to be put right
BUSY = " is in use by "  # in its sentence, if another process is at work in the directory
SHOWN = 8  # lines of a broken run's output


@dataclass(frozen=True)
class Outcome:
    """How a run ended: "done", "broken", "busy" (another process has its directory) or "stopped" (as asked)."""

    kind: str
    seconds: float = 0.0
    lines: tuple[str, ...] = ()


class Processes:
    """The runs' processes that are going on; one object for all threads."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._going: set[subprocess.Popen] = set()
        self._guard = threading.Lock()

    def run(self, command: list[str], environment: Mapping[str, str], log: Path) -> int | None:
        """The exit code of a command whose output goes to `log`; None if none may be started any more.

        The process leads a group of its own, so that Ctrl-C in the terminal reaches it through `stop` alone, once.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            with self._guard:
                if self.stopping.is_set():
                    return None
                process = subprocess.Popen(
                    command,
                    cwd=REPOSITORY,
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                self._going.add(process)
            try:
                return process.wait()
            finally:
                with self._guard:
                    self._going.discard(process)
                end_group(process.pid)

    def stop(self) -> None:
        """Start nothing more, and have all save and end."""
        with self._guard:
            self.stopping.set()
            for process in self._going:
                if process.poll() is None:
                    process.terminate()

    def kill(self) -> None:
        """Start nothing more, and end all at once."""
        with self._guard:
            self.stopping.set()
            for process in self._going:
                end_group(process.pid)


def end_group(leader: int) -> None:
    """Kill what is left of a process group: a killed run's loader workers."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def environment_of(run: Run, device: str | None = None) -> dict[str, str]:
    """The environment of a run's process; `device` is what it sees of CUDA's."""
    environment = dict(os.environ)
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
    if run.embedded:
        environment.setdefault("OMP_NUM_THREADS", "1")
    return environment


@dataclass(frozen=True)
class Manner:
    """How runs are done: their interpreter's command, how often a broken one is tried again, and whether one that
    somebody else stopped (code 75: it has saved) is taken up again at once."""

    python: tuple[str, ...]
    retries: int = 2
    resumes: bool = True


def perform(run: Run, manner: Manner, processes: Processes, environment: Mapping[str, str], log: Path) -> Outcome:
    """Run it until it is done, refused, busy, stopped, or broken once more than it may be."""
    began, broken = time.monotonic(), 0
    while True:
        code = processes.run([*manner.python, *run.argv], environment, log)
        seconds = time.monotonic() - began
        if code == 0 and is_complete(run.directory):
            if run.trains and not run.keeps:
                keep_last_checkpoint(run.directory, run.epochs)
            log.unlink(missing_ok=True)
            return Outcome("done", seconds)
        if code is None or processes.stopping.is_set() or (code == RESUMABLE and not manner.resumes):
            return Outcome("stopped", seconds)
        lines = last_lines(log)
        if code == REFUSED and BUSY in lines[-1]:
            return Outcome("busy", seconds, lines)
        if code != RESUMABLE:
            broken += 1
            if code == REFUSED or broken > manner.retries:
                return Outcome("broken", seconds, (*lines, ending(code, broken)))
        processes.stopping.wait(1)


def ending(code: int, times: int) -> str:
    """The last of a broken run's lines: how it ended."""
    if code < 0:
        how = f"killed by {signal.Signals(-code).name}"
    else:
        how = f"ended with code {code}" if code else "ended without a complete metrics.json"
    return f"({how}{f', the last of {times} attempts' if times > 1 else ''})"


def is_complete(directory: str) -> bool:
    """Whether the record in a run's directory says that it is complete."""
    try:
        record = json.loads((Path(directory) / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("complete") is True


def last_lines(log: Path, count: int = SHOWN) -> tuple[str, ...]:
    """The last lines of a run's output that are not empty; of a line that was rewritten (a bar) its last state."""
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 20_000))
        text = file.read().decode(errors="replace")
    lines = (line.rstrip().rpartition("\r")[2] for line in text.split("\n"))
    return tuple(deque((line for line in lines if line.strip()), maxlen=count)) or ("(it printed nothing)",)
