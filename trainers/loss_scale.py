"""Losses are scaled up before the backward pass where half precision would swallow small gradients, and gradients
scaled back after it.

In place of `torch.amp.GradScaler`, which asks the device for a value of its own in every step; here whether gradients
overflowed comes with the step's other numbers. It is saved and resumed like one, also from one's checkpoints.
"""

from typing import Any

import torch
from torch import Tensor

START = 2.0**10
LARGEST = {"fp16": 2.0**10, "amp": 2.0**16}
"""By precision; others need none."""
SMALLEST = 2.0**-14
GROWS_AFTER = 2000  # steps without overflow


class LossScale:
    """A power of two: begins at `START`, is halved by an overflow, doubled after `GROWS_AFTER` steps without.

    Args:
        largest: how far it grows.
        device: the losses'.
    """

    def __init__(self, largest: float, device: torch.device | str) -> None:
        self.largest = largest
        self.tensor = torch.full((), START, device=device)
        self.value, self.clean = START, 0

    @classmethod
    def of(cls, precision: str, device: torch.device | str) -> "LossScale | None":
        """That of a precision by name; None where it takes none."""
        return cls(LARGEST[precision], device) if precision in LARGEST else None

    def scale(self, loss: Tensor) -> Tensor:
        """The loss to start a backward pass from."""
        return loss * self.tensor

    def unscale(self, gradients: list[Tensor]) -> Tensor:
        """Scale gradients back in place; their norm, which is not finite where one overflowed."""
        torch._foreach_mul_(gradients, 1 / self.tensor)
        return torch.nn.utils.get_total_norm(gradients)

    def update(self, finite: bool) -> None:
        """Take note of a step: whether all its gradients were finite.

        Raises:
            FloatingPointError: they are not whatever the scale.
        """
        self.clean = self.clean + 1 if finite else 0
        if not finite and self.value <= SMALLEST:
            raise FloatingPointError(
                "Gradients are infinite or NaN at every loss scale, while the losses are finite: lower OPTIM.LR or use "
                "PREC fp32. The last checkpoint is untouched."
            )
        if not finite:
            self._set(self.value / 2)
        elif self.clean >= GROWS_AFTER and self.value < self.largest:
            self._set(self.value * 2)
            self.clean = 0

    def _set(self, value: float) -> None:
        self.value = value
        self.tensor.fill_(value)  # in place: a CUDA graph reads it there

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints, under GradScaler's names."""
        return {"scale": self.value, "_growth_tracker": self.clean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s or a GradScaler's."""
        if state:  # that of a GradScaler without CUDA is empty
            self._set(min(float(state["scale"]), self.largest))
            self.clean = int(state["_growth_tracker"])
