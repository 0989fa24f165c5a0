"""SIGTERM (Slurm's preemption) and SIGINT (Ctrl-C): finish the training step, save, leave with a code of its own."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

RESUMABLE = 75
"""Exit code of a run that was stopped: the same command goes on with it (EX_TEMPFAIL, "try again later")."""


class StopRequest:
    """Hears the signals. Attributes: `trainer`, who is asked to stop once there is one; `heard`, whether it was."""

    def __init__(self) -> None:
        self.trainer: Any = None
        self.heard = False

    def __call__(self, number: int, frame: Any) -> None:
        """Ask the trainer to stop after its step; KeyboardInterrupt at once without one, or at a second Ctrl-C."""
        hurry, self.heard = self.heard and number == signal.SIGINT, True
        if hurry or not hasattr(self.trainer, "stop_requested"):
            raise KeyboardInterrupt
        if not self.trainer.stop_requested:
            print(f"\n{signal.Signals(number).name}: saving after this step", file=sys.stderr)
        self.trainer.stop_requested = True

    def explains(self, error: BaseException) -> bool:
        """Whether `error` comes from the same signal, which reached a loader's worker as well."""
        return self.heard and isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Hear both signals for a while; in another thread than the main one Python allows none of it."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
