"""Standard output and error that nothing can break: their reader may leave, their encoding may lack a letter."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class Console:
    """A stream whose reader may leave (`| head -1`): what is written after that goes nowhere, and the work continues.

    A letter that the stream's encoding lacks is written as its code, such as \\xfc.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write; returns the number of letters."""
        try:
            self._stream.write(text)
        except OSError:
            self._give_up()
        return len(text)

    def flush(self) -> None:
        """Have the reader see what was written."""
        try:
            self._stream.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        """Lead the stream nowhere, so that what waits in it fails neither now nor at exit."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def steady_streams() -> Iterator[None]:
    """Make sys.stdout and sys.stderr unbreakable for a while, also where the starter closed them (`>&-`)."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the free number, which the next file would have been given
    before = sys.stdout, sys.stderr
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        setattr(sys, name, Console(open(os.devnull, "w") if stream is None else stream))  # noqa: SIM115 (until the end)
    opened = sys.stdout, sys.stderr
    try:
        yield
    finally:
        for stream in opened:
            stream.flush()
        sys.stdout, sys.stderr = before
