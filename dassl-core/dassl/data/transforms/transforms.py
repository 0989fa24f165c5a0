"""Builds the transforms between an image file and a model's input, from cfg.INPUT."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import nn
from torchvision import transforms as T
from torchvision.transforms import functional as F

from dassl.utils import check_availability

INTERPOLATION_MODES = {
    "bilinear": T.InterpolationMode.BILINEAR,
    "bicubic": T.InterpolationMode.BICUBIC,
    "nearest": T.InterpolationMode.NEAREST,
}

# What a training transform is made of, in the order of application, whatever the order of INPUT.TRANSFORMS.
# c is cfg.INPUT, size (H, W), mode the interpolation.
STEPS: dict[str, Callable[[Any, tuple[int, int], T.InterpolationMode], Any]] = {
    "random_translation": lambda c, size, mode: Random2DTranslation(size, interpolation=mode),
    "random_crop": lambda c, size, mode: T.RandomCrop(size, padding=c.CROP_PADDING),
    "random_resized_crop": lambda c, size, mode: T.RandomResizedCrop(
        size, scale=tuple(c.RRCROP_SCALE), interpolation=mode
    ),
    "center_crop": lambda c, size, mode: T.CenterCrop(size),
    "random_flip": lambda c, size, mode: T.RandomHorizontalFlip(),
    "imagenet_policy": lambda c, size, mode: T.AutoAugment(T.AutoAugmentPolicy.IMAGENET),
    "cifar10_policy": lambda c, size, mode: T.AutoAugment(T.AutoAugmentPolicy.CIFAR10),
    "svhn_policy": lambda c, size, mode: T.AutoAugment(T.AutoAugmentPolicy.SVHN),
    "randaugment": lambda c, size, mode: T.RandAugment(c.RANDAUGMENT_N, c.RANDAUGMENT_M),
    "randaugment_fixmatch": lambda c, size, mode: RandAugmentFixMatch(c.RANDAUGMENT_N),
    "randaugment2": lambda c, size, mode: RandAugmentSometimes(c.RANDAUGMENT_N),
    "colorjitter": lambda c, size, mode: T.ColorJitter(
        c.COLORJITTER_B, c.COLORJITTER_C, c.COLORJITTER_S, c.COLORJITTER_H
    ),
    "randomgrayscale": lambda c, size, mode: T.RandomGrayscale(p=c.RGS_P),
    "gaussian_blur": lambda c, size, mode: T.RandomApply([T.GaussianBlur(c.GB_K)], p=c.GB_P),
    "totensor": lambda c, size, mode: T.ToTensor(),
    "cutout": lambda c, size, mode: Cutout(c.CUTOUT_N, c.CUTOUT_LEN),
    "normalize": lambda c, size, mode: T.Normalize(mean=list(c.PIXEL_MEAN), std=list(c.PIXEL_STD)),
    "gaussian_noise": lambda c, size, mode: GaussianNoise(c.GN_MEAN, c.GN_STD),
    "instance_norm": lambda c, size, mode: InstanceNormalization(),
}
CHOICES = tuple(name for name in STEPS if name != "totensor")


def build_transform(cfg: Any, is_train: bool = True, choices: Sequence[str] | None = None) -> T.Compose | None:
    """Return the train or the test transform: PIL image in, tensor (3, H, W) of INPUT.SIZE out.

    `choices` stands for INPUT.TRANSFORMS; INPUT.NO_TRANSFORM gives None. Raises KeyError for an unknown choice.
    """
    if cfg.INPUT.NO_TRANSFORM:
        print("Note: no transform is applied!")
        return None
    choices = cfg.INPUT.TRANSFORMS if choices is None else choices
    choices = [choices] if isinstance(choices, str) else list(choices)
    for choice in choices:
        check_availability(choice, CHOICES, "transform in INPUT.TRANSFORMS")
    check_availability(cfg.INPUT.INTERPOLATION, INTERPOLATION_MODES, "INPUT.INTERPOLATION")
    size = cfg.INPUT.SIZE
    if len(size) != 2 or any(type(side) is not int or side < 1 for side in size):
        raise ValueError(f"INPUT.SIZE must be two whole numbers (height, width) above 0, not {size!r}.")
    steps = _train_steps(cfg, choices) if is_train else _test_steps(cfg, choices)
    if cfg.VERBOSE:
        names = ", ".join(type(step).__name__ for step in steps)
        print(f"Building transform_{'train' if is_train else 'test'}: {names}")
    return T.Compose(steps)


def _test_steps(cfg: Any, choices: Sequence[str]) -> list:
    c, size, mode = cfg.INPUT, tuple(cfg.INPUT.SIZE), INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]
    last = [STEPS[name](c, size, mode) for name in ("normalize", "instance_norm") if name in choices]
    side = size if c.get("RESIZE", "shortest") == "squash" else max(size)  # both sides, or the shorter one
    return [T.Resize(side, interpolation=mode), T.CenterCrop(size), T.ToTensor(), *last]


def _train_steps(cfg: Any, choices: Sequence[str]) -> list:
    c, size, mode = cfg.INPUT, tuple(cfg.INPUT.SIZE), INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]
    first = [] if {"random_crop", "random_resized_crop"} & set(choices) else [T.Resize(size, interpolation=mode)]
    return first + [make(c, size, mode) for name, make in STEPS.items() if name == "totensor" or name in choices]


# The transforms that torchvision lacks. All randomness is drawn from torch's generator.


class Random2DTranslation:
    """Scale an image to `size` (H, W); half of the time to 9/8 of it, of which a random part of `size` is kept."""

    def __init__(
        self, size: tuple[int, int], p: float = 0.5, interpolation: T.InterpolationMode = T.InterpolationMode.BILINEAR
    ):
        self.size = size
        self.p = p
        self.interpolation = interpolation

    def __call__(self, image: Image.Image) -> Image.Image:
        if torch.rand(()).item() >= self.p:
            return F.resize(image, self.size, self.interpolation)
        larger = [round(side * 1.125) for side in self.size]
        image = F.resize(image, larger, self.interpolation)
        return F.crop(image, *T.RandomCrop.get_params(image, self.size))


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
            image = T.RandAugment(1, int(torch.randint(1, 31, ())))(image)
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
                image = T.RandAugment(1, int(torch.randint(1, 31, ())))(image)
        return image
