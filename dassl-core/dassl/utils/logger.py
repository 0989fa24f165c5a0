"""What a run reports: log.txt, running averages, the accuracy of a batch, TensorBoard."""

import atexit
import os
import os.path as osp
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

import torch


class Logger:
    """A standard output that writes to the console and, at once, to a file: a killed process loses no printed line."""

    def __init__(self, fpath: str | None = None, console: IO | None = None):
        self.console = console if console is not None else sys.stdout
        self.file = None
        if fpath is not None:
            os.makedirs(osp.dirname(osp.abspath(fpath)), exist_ok=True)
            # "x" refuses to open an existing file: no run can empty the log of another.
            # A file name in a message may hold what is no text.
            self.file = open(fpath, "x", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115
            atexit.register(self.close)

    def write(self, msg: str) -> int:
        """Write to both; the file comes first, so that a closed terminal or pipe costs the log nothing."""
        if self.file is not None:
            try:
                self.file.write(msg)
                self.file.flush()
            except OSError as err:
                raise OSError(f'The log "{self.file.name}" cannot be written ({err}).') from err
        try:
            self.console.write(msg)
        except UnicodeEncodeError as err:  # a console that takes ASCII only, or a file name that is no text
            self.console.write(msg.encode(err.encoding, "backslashreplace").decode(err.encoding))
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


class AverageMeter:
    """Keeps the last value (`val`), the sum and the mean (`avg`) of a number; `ema=True` keeps a moving average."""

    def __init__(self, ema: bool = False):
        self.ema = ema
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.val = self.avg = self.sum = 0.0
        self.count = 0

    def update(self, val: Any, n: int = 1) -> None:
        """Take in `val`, the mean of `n` observations."""
        if isinstance(val, torch.Tensor):
            val = val.item()
        self.val = val
        self.sum += val * n
        self.count += n
        self.avg = self.avg * 0.9 + val * 0.1 if self.ema else self.sum / self.count


class MetricMeter:
    """An AverageMeter for each name, printed as `name val (avg)` in the order in which the names came up."""

    def __init__(self, delimiter: str = " "):
        self.meters: dict[str, AverageMeter] = defaultdict(AverageMeter)
        self.delimiter = delimiter

    def update(self, input_dict: dict | None) -> None:
        """Take in a dict of numbers or one-element tensors, or None. Raises TypeError for anything else."""
        if input_dict is None:
            return
        if not isinstance(input_dict, dict):
            raise TypeError(f"forward_backward must return a dict of numbers, not {type(input_dict).__name__}.")
        for name, value in input_dict.items():
            self.meters[name].update(value)

    def state(self) -> dict[str, tuple[float, float, int]]:
        """Return the averages as plain numbers, for load_state."""
        return {name: (float(m.val), float(m.sum), int(m.count)) for name, m in self.meters.items()}

    def load_state(self, state: dict[str, tuple[float, float, int]]) -> None:
        """Take up what `state` returned."""
        for name, (val, total, count) in state.items():
            meter = self.meters[name]
            meter.val, meter.sum, meter.count, meter.avg = val, total, count, total / count

    def __str__(self) -> str:
        return self.delimiter.join(f"{name} {m.val:.4f} ({m.avg:.4f})" for name, m in self.meters.items())


def compute_accuracy(
    output: torch.Tensor | Sequence[torch.Tensor], target: torch.Tensor, topk: Sequence[int] = (1,)
) -> list[torch.Tensor]:
    """Return, for each k of `topk`, the percentage of samples whose label is among the k highest scores.

    Args:
        output: scores (B, K), or a tuple that starts with them.
        target: labels (B).
        topk: numbers of scores.

    Returns:
        A tensor of shape (1,) for each k.
    """
    if isinstance(output, tuple | list):
        output = output[0]
    ranked = output.topk(max(topk), dim=1).indices  # (B, max k)
    hit = ranked.eq(target.view(-1, 1))
    return [hit[:, :k].any(dim=1).float().mean(dim=0, keepdim=True) * 100.0 for k in topk]


class EventFile:
    """TensorBoard's event file. What cannot be written (a full disk) is said once and then left out."""

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
        os.makedirs(folder, exist_ok=True)
        self._writer = kind(log_dir=folder)

    def _attempt(self, action: Any, *args: Any) -> None:
        try:
            action(*args)
        except OSError as err:
            self._writer = None
            print(f"TensorBoard's event file cannot be written ({err}); continuing without it.")


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
