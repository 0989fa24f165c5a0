"""Feature shift of a trained model (RESTORE, Eq. 6), measured alike for every method, for records and histories."""

from typing import Any

import torch
from torch import Tensor

from promptclip import FeatureShift
from promptclip.prompts import blocks
from promptclip.shift import ShiftStatistics

AT_ONCE = 32
"""Images of one call of `ShiftMeter.measure`."""


class ShiftMeter:
    """Statistics of both towers' shift, filled in training steps (`add`) or by `measure`."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        text, vision = blocks(trainer.clip.model)
        self.text, self.vision = ShiftStatistics(text), ShiftStatistics(vision)
        self.measured = False

    def add(self, image: FeatureShift | None, text: FeatureShift | None) -> None:
        """Take in samples of either tower; None where it has no prompts."""
        for shift, statistics in ((image, self.vision), (text, self.text)):
            if shift is not None:
                statistics.add(shift)

    @torch.no_grad()
    def measure(self, images: list[Tensor]) -> None:
        """Measure on a few images, each (3, H, W); the first call also on the run's classes."""
        batch = torch.stack(images).to(self.trainer.device)
        text = None if self.measured else self.trainer.text_shift(batch)
        self.add(self.trainer.image_shift(batch), text)
        self.measured = True

    def summary(self) -> dict[str, dict[str, list[float]]]:
        """`{"text": {"mean": [L], "std": [L]}, "vision": ...}`."""
        return {"text": self.text.summary(), "vision": self.vision.summary()}


def measures_shift(trainer: Any) -> bool:
    """Whether the method has prompts, and the means to measure what they shift."""
    return hasattr(trainer, "image_shift") and getattr(trainer, "learner", None) is not None


def discrepancy(shift: dict[str, dict[str, list[float]]]) -> list[float]:
    """|text - vision| of the mean shift, block by block as far as both towers go (the paper's Fig. 3)."""
    return [abs(t - v) for t, v in zip(shift["text"]["mean"], shift["vision"]["mean"], strict=False)]


def spread(total: int, wanted: int) -> list[int]:
    """`wanted` places (or all, if fewer) evenly over `total`: lists of images are sorted by class."""
    count = min(total, wanted)
    return [place * total // count for place in range(count)]
