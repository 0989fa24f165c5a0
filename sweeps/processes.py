"""How a run's process is started: anew, or forked from one that has imported everything (`fork_server`).

The imports of a run cost seconds of a processor, as much as a short run itself. Imports nothing heavy.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from runs.child import tied_to_parent
from runs.command_line import RESUMABLE

REPOSITORY = Path(__file__).parents[1]
PATIENCE_SECONDS = 120  # until the server has imported everything, on a machine that does much else
LOOK_SECONDS = 0.05


class Process(Protocol):
    """A run under way; the process leads a group of its own."""

    pid: int

    def wait(self) -> int:
        """Its exit code, once it has ended; negative: the signal that ended it."""

    def terminate(self) -> None:
        """Have it save and end."""


class Processes(Protocol):
    """Starts runs."""

    def start(self, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
        """A process of `argv`, "train.py" first, that prints into `log` and ends with the calling process."""

    def close(self) -> None:
        """Nothing more will be started."""


class Fresh:
    """Each run in an interpreter of its own.

    Args:
        python: command of the interpreter.
    """

    def __init__(self, python: Sequence[str]):
        self.python = python

    def start(self, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen:
        """See `Processes`; the calling thread must live for as long as the run does."""
        return started([*self.python, *argv], environment, log)

    def close(self) -> None:
        """Nothing is open."""


class Forked:
    """A run that the server forked."""

    def __init__(self, pid: int, connection: socket.socket):
        self.pid, self._connection = pid, connection

    def wait(self) -> int:
        """See `Process`. Where the server died, its runs were told to save and end: the code of one that has."""
        with self._connection, self._connection.makefile("rb") as file:
            line = file.readline()
        if line.endswith(b"\n"):
            return json.loads(line)["code"]
        while is_there(self.pid):
            time.sleep(LOOK_SECONDS)
        return RESUMABLE

    def terminate(self) -> None:
        """See `Process`."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)


class Kept:
    """Forks every run from a server in the interpreter of this program; there is one for each number of threads, since
    libraries read that when they are imported."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sweep-")  # a socket's address must be short
        self._servers: dict[str, tuple[subprocess.Popen, str]] = {}
        self._guard = threading.Lock()
        self._keeper: threading.Thread | None = None

    def start(self, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> Forked:
        """See `Processes`.

        Raises:
            OSError: no server can be started.
        """
        request = {"argv": list(argv[1:]), "environment": dict(environment), "log": str(log.absolute())}
        log.write_bytes(b"")
        threads = environment.get("OMP_NUM_THREADS", "")
        for attempt in (1, 2):  # a second time where the server died
            with self._guard:
                process, address = self._servers.get(threads) or self._new_server(environment, threads)
            try:
                connection = connected(address, process)
                connection.sendall(json.dumps(request).encode() + b"\n")
                line = read_line(connection)
                return Forked(json.loads(line)["pid"], connection)
            except (OSError, ValueError) as error:
                with self._guard:
                    self._servers.pop(threads, None)
                process.kill()
                if attempt == 2:
                    told = Path(f"{address}.log").read_text(errors="replace").strip().splitlines() or [str(error)]
                    raise OSError(
                        f"runs cannot be forked from a process of {sys.executable} ({told[-1]}): --fresh-processes "
                        "starts each anew."
                    ) from error
        raise AssertionError

    def _new_server(self, environment: Mapping[str, str], threads: str) -> tuple[subprocess.Popen, str]:
        address = os.path.join(self._folder.name, f"{time.monotonic_ns()}")
        command = [sys.executable, "-m", "sweeps.fork_server", address]
        process = started(command, environment, Path(f"{address}.log"))
        self._servers[threads] = process, address
        return self._servers[threads]

    def close(self) -> None:
        """End the servers."""
        with self._guard:
            for process, _ in self._servers.values():
                process.terminate()
                process.wait()
            self._servers.clear()
        self._folder.cleanup()


def started(command: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen:
    """A command in the repository, with a group of its own, that prints into `log` and ends with this process."""
    with log.open("wb") as output:
        return subprocess.Popen(
            tied_to_parent(command),
            cwd=REPOSITORY,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def connected(address: str, process: subprocess.Popen) -> socket.socket:
    """A connection to a server that may still be starting. Raises OSError if it does not."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(address)
            return connection
        except OSError:
            connection.close()
            if process.poll() is not None or time.monotonic() > end:
                raise
        time.sleep(LOOK_SECONDS)


def read_line(connection: socket.socket) -> bytes:
    """The server's first answer; more may follow."""
    line = b""
    while not line.endswith(b"\n"):
        some = connection.recv(1)
        if not some:
            raise OSError("it ended")
        line += some
    return line


def is_there(pid: int) -> bool:
    """Whether a process of that number runs; one that has ended and that nobody asks after (in a container whose first
    process does not) does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except ProcessLookupError:
        return False
    except OSError:  # another user's, or a system without /proc
        return True
    return state[:1] != ["Z"]
