"""Small operations on labels, probabilities and weights."""

import math

import torch
from torch import nn


def sharpen_prob(p: torch.Tensor, temperature: float = 2) -> torch.Tensor:
    """Return probabilities (B, K) raised to the power `temperature` and normalised again."""
    p = p**temperature
    return p / p.sum(dim=1, keepdim=True)


def reverse_index(data: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both in reverse order."""
    return data.flip(0), label.flip(0)


def shuffle_index(data: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both in one random order."""
    order = torch.randperm(len(data))
    return data[order], label[order]


def create_onehot(label: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Return labels (B) as one-hot vectors (B, num_classes) of floats on the CPU."""
    return nn.functional.one_hot(label.cpu(), num_classes).float()


def sigmoid_rampup(current: float, rampup_length: float) -> float:
    """Return the weight exp(-5 (1 - t)^2), t being the share of `rampup_length` that `current` has done."""
    return math.exp(-5.0 * (1.0 - linear_rampup(current, rampup_length)) ** 2)


def linear_rampup(current: float, rampup_length: float) -> float:
    """Return the share of `rampup_length` that `current` has done, from 0 to 1."""
    if rampup_length <= 0:
        raise ValueError(f"rampup_length must be above 0, not {rampup_length}.")
    return min(max(current / rampup_length, 0.0), 1.0)


def ema_model_update(model: nn.Module, ema_model: nn.Module, alpha: float) -> None:
    """Move the parameters of `ema_model` towards those of `model`, of which they take in the share 1 - alpha."""
    with torch.no_grad():
        for average, param in zip(ema_model.parameters(), model.parameters(), strict=True):
            average.mul_(alpha).add_(param, alpha=1 - alpha)
