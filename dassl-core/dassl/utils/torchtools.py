"""Counts, initialises and freezes the parameters of a model; and upstream's other names."""

from collections.abc import Iterable, Sequence
from functools import partial  # public code takes it from here
from typing import Any

from torch import nn

from dassl.utils.checkpoint import load_checkpoint, save_checkpoint
from dassl.utils.registry import check_availability
from dassl.utils.restoring import load_pretrained_weights, resume_from_checkpoint

__all__ = [
    "adjust_learning_rate",
    "count_num_param",
    "init_network_weights",
    "load_checkpoint",
    "load_pretrained_weights",
    "open_all_layers",
    "open_specified_layers",
    "partial",
    "resume_from_checkpoint",
    "save_checkpoint",
    "set_bn_to_eval",
]

INITIALISATIONS = {
    "normal": lambda weight, gain: nn.init.normal_(weight, 0.0, gain),
    "xavier": lambda weight, gain: nn.init.xavier_normal_(weight, gain),
    "kaiming": lambda weight, gain: nn.init.kaiming_normal_(weight, a=0, mode="fan_in"),
    "orthogonal": lambda weight, gain: nn.init.orthogonal_(weight, gain),
}


def count_num_param(model: nn.Module | None = None, params: nn.Parameter | Iterable[nn.Parameter] | None = None) -> int:
    """Count the numbers in a model's parameters, or in `params`."""
    if params is None:
        if model is None:
            raise ValueError("count_num_param needs a model or its parameters.")
        params = model.parameters()
    elif isinstance(params, nn.Parameter):
        params = [params]
    return sum(p.numel() for p in params)


def init_network_weights(model: nn.Module, init_type: str = "normal", gain: float = 0.02) -> None:
    """Draw the weights of linear layers and convolutions anew; their biases become 0, normalisations neutral.

    Args:
        model: the network.
        init_type: "normal", "xavier", "kaiming" or "orthogonal".
        gain: standard deviation of "normal", factor of "xavier" and "orthogonal".

    Raises:
        UnknownName: there is no such initialisation (also a KeyError).
    """
    check_availability(init_type, INITIALISATIONS, "initialisation")
    for module in model.modules():
        kind = type(module).__name__
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if weight is None:
            continue
        if "Conv" in kind or "Linear" in kind:
            INITIALISATIONS[init_type](weight, gain)
        elif "BatchNorm" in kind or "InstanceNorm" in kind:
            nn.init.ones_(weight)
        else:
            continue
        if bias is not None:
            nn.init.zeros_(bias)


def open_all_layers(model: nn.Module) -> None:
    """Put a model into training mode and make all of it trainable."""
    model.train()
    model.requires_grad_(True)


def open_specified_layers(model: nn.Module, open_layers: str | Sequence[str]) -> None:
    """Make the named children of a model trainable and freeze the others. Raises UnknownName (a KeyError)."""
    model = model.module if isinstance(model, nn.DataParallel) else model
    children = dict(model.named_children())
    names = [open_layers] if isinstance(open_layers, str) else list(open_layers)
    for name in names:
        check_availability(name, children, "layer")
    for name, child in children.items():
        child.train(name in names)
        child.requires_grad_(name in names)


def set_bn_to_eval(m: nn.Module) -> None:
    """Put a batch normalisation into evaluation mode; for `model.apply`."""
    if "BatchNorm" in type(m).__name__:
        m.eval()


def adjust_learning_rate(
    optimizer: Any,
    base_lr: float,
    epoch: int,
    stepsize: int = 20,
    gamma: float = 0.1,
    linear_decay: bool = False,
    final_lr: float = 0.0,
    max_epoch: int = 100,
) -> None:
    """Set the learning rate of an epoch: `gamma` times less every `stepsize` epochs, or linearly to `final_lr`."""
    done = epoch / max_epoch
    lr = done * final_lr + (1 - done) * base_lr if linear_decay else base_lr * gamma ** (epoch // stepsize)
    for group in optimizer.param_groups:
        group["lr"] = lr
