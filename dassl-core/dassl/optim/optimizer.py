"""Builds the optimiser that cfg.OPTIM names."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from dassl.utils.names import check_availability

_BUILDERS: dict[str, Callable[[Any, Any], torch.optim.Optimizer]] = {
    "adam": lambda groups, c: torch.optim.Adam(groups, **_adam(c)),
    "amsgrad": lambda groups, c: torch.optim.Adam(groups, **_adam(c), amsgrad=True),
    "sgd": lambda groups, c: torch.optim.SGD(
        groups,
        lr=c.LR,
        momentum=c.MOMENTUM,
        weight_decay=c.WEIGHT_DECAY,
        dampening=c.SGD_DAMPNING,
        nesterov=c.SGD_NESTEROV,
    ),
    "rmsprop": lambda groups, c: torch.optim.RMSprop(
        groups, lr=c.LR, momentum=c.MOMENTUM, weight_decay=c.WEIGHT_DECAY, alpha=c.RMSPROP_ALPHA
    ),
    "radam": lambda groups, c: torch.optim.RAdam(groups, **_adam(c)),
    "adamw": lambda groups, c: torch.optim.AdamW(groups, **_adam(c)),
}


def build_optimizer(
    model: nn.Module | Iterable, optim_cfg: Any, param_groups: Iterable | None = None
) -> torch.optim.Optimizer:
    """Return the optimiser over `param_groups`, else over `model`: a module, or parameters, or parameter groups.

    Frozen parameters may be among them: without a gradient they are never touched. With STAGED_LR the children of the
    model that NEW_LAYERS does not name learn BASE_LR_MULT times slower. Raises KeyError for an unknown name.
    """
    check_availability(optim_cfg.NAME, _BUILDERS, "optimiser")
    if optim_cfg.STAGED_LR and param_groups is not None:
        warnings.warn("OPTIM.STAGED_LR has no effect on explicit param_groups.", stacklevel=2)
    if param_groups is None:
        if optim_cfg.STAGED_LR:
            param_groups = _staged(model, optim_cfg)
        else:
            param_groups = model.parameters() if isinstance(model, nn.Module) else model
    return _BUILDERS[optim_cfg.NAME](param_groups, optim_cfg)


def _adam(c: Any) -> dict[str, Any]:
    return {"lr": c.LR, "weight_decay": c.WEIGHT_DECAY, "betas": (c.ADAM_BETA1, c.ADAM_BETA2)}


def _staged(model: Any, optim_cfg: Any) -> list[dict[str, Any]]:
    """Return two groups of parameters, the slower one first."""
    if not isinstance(model, nn.Module):
        raise ValueError("OPTIM.STAGED_LR needs a whole model, whose layers it can tell apart.")
    if isinstance(model, nn.DataParallel):
        model = model.module
    new = [optim_cfg.NEW_LAYERS] if isinstance(optim_cfg.NEW_LAYERS, str) else list(optim_cfg.NEW_LAYERS)
    children = dict(model.named_children())
    if not new:
        warnings.warn("OPTIM.NEW_LAYERS is empty: with OPTIM.STAGED_LR every layer learns slower.", stacklevel=3)
    for name in new:
        check_availability(name, children, "layer in OPTIM.NEW_LAYERS")
    old_params = [p for name, child in children.items() if name not in new for p in child.parameters()]
    new_params = [p for name in new for p in children[name].parameters()]
    return [{"params": old_params, "lr": optim_cfg.LR * optim_cfg.BASE_LR_MULT}, {"params": new_params}]
