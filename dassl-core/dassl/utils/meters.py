"""Running averages for log lines."""

from collections import defaultdict
from typing import Any

import torch


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
    """One AverageMeter a name, printed as `name val (avg)` in the order in which the names came up."""

    def __init__(self, delimiter: str = " "):
        self.meters: dict[str, AverageMeter] = defaultdict(AverageMeter)
        self.delimiter = delimiter

    def update(self, input_dict: dict | None) -> None:
        """Take in a dict of numbers or one-element tensors; None is no news. Raises TypeError for anything else."""
        if input_dict is None:
            return
        if not isinstance(input_dict, dict):
            raise TypeError(f"forward_backward must return a dict of numbers, not {type(input_dict).__name__}.")
        for name, value in input_dict.items():
            self.meters[name].update(value)

    def state(self) -> dict[str, tuple[float, float, int]]:
        """What load_state needs to go on counting, as plain numbers."""
        return {name: (float(m.val), float(m.sum), int(m.count)) for name, m in self.meters.items()}

    def load_state(self, state: dict[str, tuple[float, float, int]]) -> None:
        """Go on from what `state` returned."""
        for name, (val, total, count) in state.items():
            meter = self.meters[name]
            meter.val, meter.sum, meter.count, meter.avg = val, total, count, total / count

    def __str__(self) -> str:
        return self.delimiter.join(f"{name} {m.val:.4f} ({m.avg:.4f})" for name, m in self.meters.items())
