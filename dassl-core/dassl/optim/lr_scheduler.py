"""These names under upstream's module path."""

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
