"""Builds the transforms between an image file and a model's input, from cfg.INPUT."""

from collections.abc import Sequence
from typing import Any

from torchvision import transforms as T

from dassl.data.transforms import extra
from dassl.utils.names import check_availability

INTERPOLATION_MODES = {
    "bilinear": T.InterpolationMode.BILINEAR,
    "bicubic": T.InterpolationMode.BICUBIC,
    "nearest": T.InterpolationMode.NEAREST,
}

CHOICES = (
    "random_translation",
    "random_crop",
    "random_resized_crop",
    "center_crop",
    "random_flip",
    "imagenet_policy",
    "cifar10_policy",
    "svhn_policy",
    "randaugment",
    "randaugment_fixmatch",
    "randaugment2",
    "colorjitter",
    "randomgrayscale",
    "gaussian_blur",
    "cutout",
    "normalize",
    "gaussian_noise",
    "instance_norm",
)


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


def normalize(cfg: Any) -> T.Normalize:
    """Return the normalisation by INPUT.PIXEL_MEAN and INPUT.PIXEL_STD."""
    return T.Normalize(mean=list(cfg.INPUT.PIXEL_MEAN), std=list(cfg.INPUT.PIXEL_STD))


def _test_steps(cfg: Any, choices: list[str]) -> list:
    size = tuple(cfg.INPUT.SIZE)
    steps = [
        T.Resize(max(size), interpolation=INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]),
        T.CenterCrop(size),
        T.ToTensor(),
    ]
    if "normalize" in choices:
        steps.append(normalize(cfg))
    if "instance_norm" in choices:
        steps.append(extra.InstanceNormalization())
    return steps


def _train_steps(cfg: Any, choices: list[str]) -> list:
    """Return the chosen steps; their order is fixed, whatever the order of the choices."""
    c = cfg.INPUT
    size = tuple(c.SIZE)
    mode = INTERPOLATION_MODES[c.INTERPOLATION]
    policy = T.AutoAugmentPolicy
    makers = {
        "random_translation": lambda: extra.Random2DTranslation(size, interpolation=mode),
        "random_crop": lambda: T.RandomCrop(size, padding=c.CROP_PADDING),
        "random_resized_crop": lambda: T.RandomResizedCrop(size, scale=tuple(c.RRCROP_SCALE), interpolation=mode),
        "center_crop": lambda: T.CenterCrop(size),
        "random_flip": lambda: T.RandomHorizontalFlip(),
        "imagenet_policy": lambda: T.AutoAugment(policy.IMAGENET),
        "cifar10_policy": lambda: T.AutoAugment(policy.CIFAR10),
        "svhn_policy": lambda: T.AutoAugment(policy.SVHN),
        "randaugment": lambda: T.RandAugment(c.RANDAUGMENT_N, c.RANDAUGMENT_M),
        "randaugment_fixmatch": lambda: extra.RandAugmentFixMatch(c.RANDAUGMENT_N),
        "randaugment2": lambda: extra.RandAugmentSometimes(c.RANDAUGMENT_N),
        "colorjitter": lambda: T.ColorJitter(c.COLORJITTER_B, c.COLORJITTER_C, c.COLORJITTER_S, c.COLORJITTER_H),
        "randomgrayscale": lambda: T.RandomGrayscale(p=c.RGS_P),
        "gaussian_blur": lambda: T.RandomApply([T.GaussianBlur(c.GB_K)], p=c.GB_P),
        "totensor": lambda: T.ToTensor(),
        "cutout": lambda: extra.Cutout(c.CUTOUT_N, c.CUTOUT_LEN),
        "normalize": lambda: normalize(cfg),
        "gaussian_noise": lambda: extra.GaussianNoise(c.GN_MEAN, c.GN_STD),
        "instance_norm": lambda: extra.InstanceNormalization(),
    }
    steps: list = []
    if not {"random_crop", "random_resized_crop"} & set(choices):
        steps.append(T.Resize(size, interpolation=mode))
    return steps + [make() for name, make in makers.items() if name == "totensor" or name in choices]
