"""TensorBoard's event file: kept while it can be written; no run ends for its sake."""

import threading
from typing import Any

from dassl.utils import mkdir_if_missing


class EventFile:
    """Scalars by tag and step. What cannot be written (a full disk) is said once and then left out."""

    def __init__(self, folder: str):
        # Imported here because it takes a second that an evaluation need not wait.
        from torch.utils.tensorboard import SummaryWriter

        _silence_writing_thread()
        self._writer: Any = None
        self._attempt(self._open, SummaryWriter, folder)

    def add_scalar(self, tag: str, value: Any, step: int | None = None) -> None:
        """Write a number."""
        if self._writer is not None:
            self._attempt(self._writer.add_scalar, tag, value, step)

    def close(self) -> None:
        """Write what is pending and close."""
        if self._writer is not None:
            self._attempt(self._writer.close)
            self._writer = None

    def _open(self, kind: type, folder: str) -> None:
        mkdir_if_missing(folder)
        self._writer = kind(log_dir=folder)

    def _attempt(self, action: Any, *args: Any) -> None:
        try:
            action(*args)
        except OSError as err:
            self._writer = None
            print(f"TensorBoard's event file cannot be written ({err}); going on without it.")


def _silence_writing_thread() -> None:
    """Keep the traceback of TensorBoard's writing thread off the console: its error comes up in the main thread too."""
    before = threading.excepthook
    if getattr(before, "knows_tensorboard", False):
        return

    def hook(args: Any) -> None:
        if not (type(args.thread).__module__.startswith("tensorboard") and issubclass(args.exc_type, OSError)):
            before(args)

    hook.knows_tensorboard = True
    threading.excepthook = hook
