"""Upstream's place of these names."""

from dassl.optim.optimizer import (
    ConstantWarmupScheduler,
    CosineAnnealingLR,
    LinearWarmupScheduler,
    MultiStepLR,
    StepLR,
    build_lr_scheduler,
)

__all__ = [
    "ConstantWarmupScheduler",
    "CosineAnnealingLR",
    "LinearWarmupScheduler",
    "MultiStepLR",
    "StepLR",
    "build_lr_scheduler",
]
