"""The transforms that torchvision lacks. All randomness is drawn from torch's generator."""

import torch
from PIL import Image
from torch import nn
from torchvision.transforms import InterpolationMode, RandAugment, RandomCrop
from torchvision.transforms import functional as F


class Random2DTranslation:
    """Scale an image to `size` (H, W); half of the time to 9/8 of it, of which a random part of `size` is kept."""

    def __init__(
        self, size: tuple[int, int], p: float = 0.5, interpolation: InterpolationMode = InterpolationMode.BILINEAR
    ):
        self.size = size
        self.p = p
        self.interpolation = interpolation

    def __call__(self, image: Image.Image) -> Image.Image:
        if torch.rand(()).item() >= self.p:
            return F.resize(image, self.size, self.interpolation)
        larger = [round(side * 1.125) for side in self.size]
        image = F.resize(image, larger, self.interpolation)
        return F.crop(image, *RandomCrop.get_params(image, self.size))


class Cutout:
    """Blank `n` squares of `length` pixels at random places of an image (C, H, W); they may reach over its edge."""

    def __init__(self, n: int = 1, length: int = 16):
        self.n = n
        self.length = length

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[1:]
        image = image.clone()
        for _ in range(self.n):
            y, x = int(torch.randint(height, ())), int(torch.randint(width, ()))
            half = self.length // 2
            image[:, max(y - half, 0) : y + half, max(x - half, 0) : x + half] = 0
        return image


class GaussianNoise:
    """Add normal noise to a tensor, half of the time."""

    def __init__(self, mean: float = 0.0, std: float = 0.15, p: float = 0.5):
        self.mean = mean
        self.std = std
        self.p = p

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        if torch.rand(()).item() >= self.p:
            return image
        return image + torch.randn_like(image) * self.std + self.mean


class InstanceNormalization:
    """Bring every channel of an image (C, H, W) to mean 0 and standard deviation 1."""

    def __init__(self, eps: float = 1e-8):
        self.eps = eps

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        mean = image.mean(dim=(1, 2), keepdim=True)
        std = image.std(dim=(1, 2), keepdim=True)
        return (image - mean) / (std + self.eps)


class RandAugmentFixMatch(nn.Module):
    """FixMatch's strong augmentation: `n` random operations, each of random strength (Sohn et al., 2020)."""

    def __init__(self, n: int = 2):
        super().__init__()
        self.n = n

    def forward(self, image: Image.Image) -> Image.Image:
        """Return the image after `n` operations."""
        for _ in range(self.n):
            image = RandAugment(1, int(torch.randint(1, 31, ())))(image)
        return image


class RandAugmentSometimes(nn.Module):
    """`n` random operations, each applied with probability `p` and random strength."""

    def __init__(self, n: int = 2, p: float = 0.6):
        super().__init__()
        self.n = n
        self.p = p

    def forward(self, image: Image.Image) -> Image.Image:
        """Return the image after up to `n` operations."""
        for _ in range(self.n):
            if torch.rand(()).item() < self.p:
                image = RandAugment(1, int(torch.randint(1, 31, ())))(image)
        return image
