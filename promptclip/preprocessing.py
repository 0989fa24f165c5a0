"""From an image to what CLIP's vision tower takes: resized, cropped, normalised, as Dassl does it for a test."""

import math
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

INTERPOLATIONS = ("bicubic", "bilinear", "nearest")
RESIZES = ("shortest", "squash")
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an image before it enters the vision tower.

    Attributes:
        size: of the square that enters the tower; pixels.
        interpolation: one of INTERPOLATIONS.
        mean, std: of the three channels, for pixels from 0 to 1.
        resize: one of RESIZES. "shortest": the shorter side is brought to `size`, and the square cut out of the middle;
            "squash": both sides are brought to it (DFN5B's CLIPs).

    Raises:
        ValueError: numbers that no images can be prepared by.
    """

    size: int
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    resize: str = "shortest"

    def __post_init__(self) -> None:
        numbers = all(isinstance(one, int | float) and math.isfinite(one) for one in (*self.mean, *self.std))
        if not (numbers and len(self.mean) == len(self.std) == 3 and min(self.std) > 0):
            raise ValueError(f"images cannot be normalised by mean {self.mean!r:.80} and deviation {self.std!r:.80}")
        if type(self.size) is not int or not 0 < self.size <= 10_000:
            raise ValueError(f"images cannot have {self.size!r:.40} pixels")

    def __call__(self, image: Image.Image) -> Tensor:
        """(3, size, size) of an RGB image."""
        square = [self.size, self.size]
        image = F.resize(
            image, square if self.resize == "squash" else square[:1], InterpolationMode(self.interpolation)
        )
        image = F.center_crop(image, square)
        return F.normalize(F.to_tensor(image), list(self.mean), list(self.std))

    def __str__(self) -> str:
        """In a few words."""
        own = "" if (self.mean, self.std) == (CLIP_MEAN, CLIP_STD) else f", mean {self.mean}, std {self.std}"
        return f"images of {self.size} pixels ({self.resize}, {self.interpolation}{own})"

    def normalise(self, pixels: Tensor) -> Tensor:
        """(B, 3, size, size) from 0 to 1 -> what the vision tower takes."""
        mean, std = (torch.tensor(one, device=pixels.device, dtype=pixels.dtype) for one in (self.mean, self.std))
        return (pixels - mean[:, None, None]) / std[:, None, None]
