"""Copies what a run prints into its log.txt."""

import atexit
import os.path as osp
import sys
import time
from contextlib import suppress
from typing import IO, Any

from dassl.utils.files import mkdir_if_missing


class Logger:
    """A standard output that writes to the console and, at once, to a file: a killed process loses no printed line."""

    def __init__(self, fpath: str | None = None, console: IO | None = None):
        self.console = console if console is not None else sys.stdout
        self.file = None
        if fpath is not None:
            mkdir_if_missing(osp.dirname(fpath))
            # "x" refuses to open an existing file: no run can empty the log of another.
            self.file = open(fpath, "x", encoding="utf-8", buffering=1)  # noqa: SIM115 (open for the whole run)
            atexit.register(self.close)

    def write(self, msg: str) -> int:
        """Write to both; the file comes first, so that a closed terminal or pipe costs the log nothing."""
        if self.file is not None:
            try:
                self.file.write(msg)
                self.file.flush()
            except OSError as err:
                raise OSError(f'The log "{self.file.name}" cannot be written ({err}).') from err
        self.console.write(msg)
        return len(msg)

    def flush(self) -> None:
        """Flush both."""
        self.console.flush()
        if self.file is not None:
            self.file.flush()

    def close(self) -> None:
        """Close the file; the console stays open, and later prints go to it alone."""
        if self.file is not None:
            with suppress(OSError):  # on a full disk; the failed write has been reported
                self.file.close()
            self.file = None
            atexit.unregister(self.close)

    def __enter__(self) -> "Logger":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name == "console":
            raise AttributeError(name)
        return getattr(self.console, name)


def setup_logger(output: str | None = None) -> None:
    """Copy standard output to `output`/log.txt (or to `output` itself if it ends in .txt or .log).

    An existing log is kept: the new one gets the suffix -YYYY-MM-DD-HH-MM-SS. Called again, it starts the next run's
    log and closes the one before.
    """
    if output is None:
        return
    console = sys.stdout
    while isinstance(console, Logger):
        console.close()
        console = console.console
    fpath = output if output.endswith((".txt", ".log")) else osp.join(output, "log.txt")
    sys.stdout = Logger(_unused(fpath), console)


def _unused(fpath: str) -> str:
    """Return `fpath`, or a dated name beside it that is still free."""
    if not osp.exists(fpath):
        return fpath
    dated = fpath + time.strftime("-%Y-%m-%d-%H-%M-%S")
    free, n = dated, 1
    while osp.exists(free):
        n += 1
        free = f"{dated}-{n}"
    return free
