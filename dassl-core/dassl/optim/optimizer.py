"""Builds the optimiser and the learning-rate schedule that cfg.OPTIM names."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, StepLR

from dassl.optim.radam import RAdam
from dassl.utils import check_availability

SCHEDULES = ("single_step", "multi_step", "cosine")
WARMUPS = ("constant", "linear")

_BUILDERS: dict[str, Callable[[Any, Any], Optimizer]] = {
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
    "radam": lambda groups, c: RAdam(groups, **_adam(c)),
    "adamw": lambda groups, c: torch.optim.AdamW(groups, **_adam(c)),
}


def build_optimizer(model: nn.Module | Iterable, optim_cfg: Any, param_groups: Iterable | None = None) -> Optimizer:
    """Return the optimiser that optim_cfg.NAME names.

    Args:
        model: a module, or parameters, or parameter groups. Frozen parameters may be among them: without a gradient
            they are never touched.
        optim_cfg: the node OPTIM. With STAGED_LR the children of the model that NEW_LAYERS does not name learn
            BASE_LR_MULT times slower.
        param_groups: parameter groups that stand for the model's.

    Raises:
        UnknownName: there is no optimiser, or no layer, of that name (also a KeyError).
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


class WarmupScheduler(LRScheduler):
    """Sets the learning rate for `warmup_epoch` epochs and then hands over to `successor`.

    Its state holds plain numbers only, the successor's included, and is put into the successor that is bound to this
    run's optimiser: a resumed run goes through the very learning rates of an uninterrupted one.
    """

    def __init__(self, optimizer: Optimizer, successor: LRScheduler, warmup_epoch: int):
        self.successor = successor
        self.warmup_epoch = warmup_epoch
        super().__init__(optimizer)

    def warmup_lrs(self) -> list[float]:
        """Return the learning rate of every group during the warm-up."""
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        """Return the learning rates of epoch `last_epoch`, 0-based."""
        return self.successor.get_last_lr() if self.last_epoch >= self.warmup_epoch else self.warmup_lrs()

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch. The step out of the warm-up leads to the successor's present value, not its next."""
        if self.last_epoch >= self.warmup_epoch:
            self.successor.step(epoch)
            self._last_lr = self.successor.get_last_lr()
        else:
            super().step(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the schedule; what the configuration fixes stays out."""
        return {
            "last_epoch": self.last_epoch,
            "_step_count": self._step_count,
            "_last_lr": list(self._last_lr),
            "successor": self.successor.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to a saved place. Upstream's states fit too: their successor is an object, read as its inert attributes.

        Raises ValueError if the state is that of a schedule without warm-up.
        """
        if "successor" not in state_dict:
            raise ValueError("the saved schedule has no warm-up, but OPTIM.WARMUP_EPOCH asks for one")
        saved = state_dict["successor"]
        saved = saved if isinstance(saved, dict) else saved.state
        # Only what this torch's schedule has: an upstream object drags its optimiser and older attributes along.
        self.successor.load_state_dict({k: saved[k] for k in self.successor.state_dict() if k in saved})
        self.last_epoch = state_dict["last_epoch"]
        self._step_count = state_dict["_step_count"]
        self._last_lr = list(state_dict["_last_lr"])


class ConstantWarmupScheduler(WarmupScheduler):
    """Holds every group at `cons_lr` during the warm-up."""

    def __init__(self, optimizer: Optimizer, successor: LRScheduler, warmup_epoch: int, cons_lr: float):
        self.cons_lr = cons_lr
        super().__init__(optimizer, successor, warmup_epoch)

    def warmup_lrs(self) -> list[float]:
        """Return the constant, once per group."""
        return [self.cons_lr for _ in self.base_lrs]


class LinearWarmupScheduler(WarmupScheduler):
    """Starts every group at `min_lr`; epoch e > 0 of the warm-up has e / warmup_epoch of the base learning rate."""

    def __init__(self, optimizer: Optimizer, successor: LRScheduler, warmup_epoch: int, min_lr: float):
        self.min_lr = min_lr
        super().__init__(optimizer, successor, warmup_epoch)

    def warmup_lrs(self) -> list[float]:
        """Return this epoch's share of each base learning rate."""
        if self.last_epoch == 0:
            return [self.min_lr for _ in self.base_lrs]
        return [lr * self.last_epoch / self.warmup_epoch for lr in self.base_lrs]


def build_lr_scheduler(optimizer: Optimizer, optim_cfg: Any) -> LRScheduler:
    """Return the schedule single_step, multi_step or cosine (over MAX_EPOCH), behind a warm-up if WARMUP_EPOCH > 0.

    It is stepped once per epoch.

    Raises:
        UnknownName: there is no schedule of that name (also a KeyError).
        ValueError: STEPSIZE does not fit the schedule.
    """
    check_availability(optim_cfg.LR_SCHEDULER, SCHEDULES, "learning-rate schedule")
    schedule = _schedule(optimizer, optim_cfg)
    if optim_cfg.WARMUP_EPOCH <= 0:
        return schedule
    check_availability(optim_cfg.WARMUP_TYPE, WARMUPS, "warm-up")
    if not optim_cfg.WARMUP_RECOUNT:
        schedule.last_epoch = optim_cfg.WARMUP_EPOCH
    if optim_cfg.WARMUP_TYPE == "constant":
        return ConstantWarmupScheduler(optimizer, schedule, optim_cfg.WARMUP_EPOCH, optim_cfg.WARMUP_CONS_LR)
    return LinearWarmupScheduler(optimizer, schedule, optim_cfg.WARMUP_EPOCH, optim_cfg.WARMUP_MIN_LR)


def _schedule(optimizer: Optimizer, optim_cfg: Any) -> LRScheduler:
    """Return the schedule without warm-up."""
    steps = optim_cfg.STEPSIZE
    if optim_cfg.LR_SCHEDULER == "cosine":
        return CosineAnnealingLR(optimizer, float(optim_cfg.MAX_EPOCH))
    if optim_cfg.LR_SCHEDULER == "multi_step":
        if not isinstance(steps, list | tuple) or any(type(s) is not int or s < 1 for s in steps):
            raise ValueError(f"OPTIM.STEPSIZE must list the epochs of the steps for multi_step, not {steps!r}.")
        return MultiStepLR(optimizer, milestones=list(steps), gamma=optim_cfg.GAMMA)
    step = steps[-1] if isinstance(steps, list | tuple) and steps else steps
    if type(step) is not int:
        raise ValueError(f"OPTIM.STEPSIZE must be a number of epochs for single_step, not {steps!r}.")
    return StepLR(optimizer, step_size=step if step > 0 else optim_cfg.MAX_EPOCH, gamma=optim_cfg.GAMMA)
