"""Pictures as EmojiCLIP sees them in training: moved, recoloured, lit, on backgrounds; one batch at a time."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's own
STD = (0.26862954, 0.26130258, 0.27577711)


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) of 0..1 as CLIP takes them."""
    mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (MEAN, STD))
    return (images - mean) / std


def on_white(pictures: Tensor) -> Tensor:
    """RGBA (B, H, W, 4) uint8 on white, (B, 3, H, W) of 0..1."""
    colour, alpha = premultiplied(pictures)
    return colour + 1 - alpha


def premultiplied(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Colour times opacity (B, 3, H, W) and opacity (B, 1, H, W), 0..1, of RGBA (B, H, W, 4) uint8."""
    parts = pictures.permute(0, 3, 1, 2).float() / 255
    return parts[:, :3] * parts[:, 3:], parts[:, 3:]


def augment(pictures: Tensor, rng: torch.Generator, strength: float = 1.0) -> Tensor:
    """RGBA (B, H, W, 4) uint8 as training images (B, 3, H, W) of 0..1, all on the generator's device.

    `strength` scales every range; at 0 the picture is left as it is, on white. Draws its numbers from `rng` alone.
    """
    n = len(pictures)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand((n, *shape), generator=rng, device=rng.device)

    def around(spread: float, *shape: int) -> Tensor:
        return spread * strength * torch.randn((n, *shape), generator=rng, device=rng.device)

    # one affine map of the picture, bilinear
    angle, scale, stretch = around(math.radians(8)), torch.exp(around(0.12) + 0.05 * strength), torch.exp(around(0.06))
    mirror = torch.where(uniform(0, 1) < 0.5 * min(strength, 1), -1.0, 1.0)
    shear, shift = around(0.08), around(0.06, 2)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = torch.stack(
        [
            torch.stack([mirror * cos * stretch, -sin + shear, shift[:, 0]], 1),
            torch.stack([mirror * sin, cos / stretch, shift[:, 1]], 1),
        ],
        1,
    )
    stacked = torch.cat(premultiplied(pictures), 1)
    grid = F.affine_grid(rows, list(stacked.shape), align_corners=False)
    stacked = F.grid_sample(stacked, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    colour, alpha = stacked[:, :3], stacked[:, 3:]

    # shading, as 3D styles have it: a smooth field of light over the drawing
    field = F.interpolate(around(0.12, 1, 3, 3), size=colour.shape[-2:], mode="bilinear", align_corners=True)
    colour = colour * (1 + field).clamp(0.4, 1.6)
    # colour: channels mixed a little, saturation, contrast, brightness
    mixing = torch.eye(3, device=rng.device) + around(0.06, 3, 3)
    colour = torch.einsum("bij,bjhw->bihw", mixing, colour)
    grey = colour.mean(1, keepdim=True)
    colour = grey + (colour - grey) * torch.exp(around(0.25, 1, 1, 1))
    colour = colour * torch.exp(around(0.12, 1, 1, 1)) + alpha * around(0.05, 1, 1, 1)
    colour = torch.minimum(colour.clamp(min=0), alpha)

    plain = uniform(0, 1, 1, 1, 1) < 1 - 0.4 * min(strength, 1)  # most stand on white, as emoji are shown
    background = torch.where(plain, torch.ones(n, 3, 1, 1, device=rng.device), uniform(0, 1, 3, 1, 1))
    images = colour + (1 - alpha) * background
    blurred = F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    return torch.where(uniform(0, 1, 1, 1, 1) < 0.15 * strength, blurred, images)
