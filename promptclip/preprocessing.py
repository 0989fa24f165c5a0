"""From an image to what CLIP's vision tower takes: resized, cropped, normalised, as Dassl does it for a test."""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

INTERPOLATIONS = ("bicubic", "bilinear", "nearest")
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an image before it enters the vision tower.

    Attributes:
        size: of the square that is cut out of the middle, after the shorter side was brought to it; pixels.
        interpolation: one of INTERPOLATIONS.
        mean, std: of the three channels, for pixels from 0 to 1.
    """

    size: int
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    def __call__(self, image: Image.Image) -> Tensor:
        """(3, size, size) of an RGB image."""
        image = F.resize(image, [self.size], InterpolationMode(self.interpolation))
        image = F.center_crop(image, [self.size, self.size])
        return F.normalize(F.to_tensor(image), list(self.mean), list(self.std))

    def normalise(self, pixels: Tensor) -> Tensor:
        """(B, 3, size, size) from 0 to 1 -> what the vision tower takes."""
        mean, std = (torch.tensor(one, device=pixels.device, dtype=pixels.dtype) for one in (self.mean, self.std))
        return (pixels - mean[:, None, None]) / std[:, None, None]
