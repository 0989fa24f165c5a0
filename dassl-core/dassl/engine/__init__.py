"""Trainers."""

from dassl.engine.base import Stopped, TrainerBase
from dassl.engine.net import SimpleNet
from dassl.engine.trainer import TRAINER_REGISTRY, SimpleTrainer, TrainerX, TrainerXU, build_trainer

__all__ = [
    "TRAINER_REGISTRY",
    "SimpleNet",
    "SimpleTrainer",
    "Stopped",
    "TrainerBase",
    "TrainerX",
    "TrainerXU",
    "build_trainer",
]
