"""Operations that methods on top of Dassl use; of upstream's, those that are small."""

from typing import Any, NoReturn

import torch
from torch import nn

# Upstream's others can be imported, so that a file that has use for one of them in another place loads.
ABSENT = (
    *("DSBN1d", "DSBN2d", "EFDMix", "MaximumMeanDiscrepancy", "MinibatchEnergyDistance", "MixStyle"),
    *("SinkhornDivergence", "TransNorm1d", "TransNorm2d"),
    *(f"{verb}_{what}" for what in ("efdmix", "mixstyle") for verb in ("activate", "crossdomain", "deactivate")),
    *(f"{verb}_{what}" for what in ("efdmix", "mixstyle") for verb in ("random", "run_with", "run_without")),
)

__all__ = ["ReverseGrad", "Sequential2", "cross_entropy", "mixup"]


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.scale = scale
        return input.view_as(input)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -ctx.scale * grad, None


class ReverseGrad(nn.Module):
    """Leaves its input alone and turns the gradient round, scaled by `grad_scaling` >= 0."""

    def forward(self, x: torch.Tensor, grad_scaling: float = 1.0) -> torch.Tensor:
        """Return x."""
        if grad_scaling < 0:
            raise ValueError(f"grad_scaling must not be negative, but is {grad_scaling}.")
        return _Reverse.apply(x, grad_scaling)


class Sequential2(nn.Sequential):
    """An nn.Sequential whose modules take and return any number of values."""

    def forward(self, *inputs: Any) -> Any:
        """Return what the last module returns."""
        for module in self:
            inputs = module(*inputs) if isinstance(inputs, tuple) else module(inputs)
        return inputs


def cross_entropy(
    input: torch.Tensor, target: torch.Tensor, label_smooth: float = 0.0, reduction: str = "mean"
) -> torch.Tensor:
    """Return the cross entropy of logits (B, K) and labels (B), `label_smooth` of each label being shared by all."""
    return nn.functional.cross_entropy(input, target, label_smoothing=label_smooth, reduction=reduction)


def mixup(
    x1: torch.Tensor, x2: torch.Tensor, y1: torch.Tensor, y2: torch.Tensor, beta: float, preserve_order: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix two batches of images (B, C, H, W) and of their labels (B, K), each pair in a ratio drawn for it.

    Args:
        x1: images.
        x2: images.
        y1: labels as one-hot vectors.
        y2: labels as one-hot vectors.
        beta: both parameters of the Beta distribution of the ratio.
        preserve_order: give the first of each pair the larger share.
    """
    share = torch.distributions.Beta(beta, beta).sample((len(x1), 1)).to(x1.device)  # (B, 1)
    if preserve_order:
        share = torch.max(share, 1 - share)
    wide = share[:, :, None, None]
    return x1 * wide + x2 * (1 - wide), y1 * share + y2 * (1 - share)


def __getattr__(name: str) -> type:
    if name not in ABSENT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"dassl-core has no {name}: prompt learners do not use it. Install upstream Dassl to use it."
        )

    return type(name, (), {"__new__": refuse})
