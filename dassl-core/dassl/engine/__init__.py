"""Trainers."""

from dassl.engine.base import TrainerBase
from dassl.engine.build import TRAINER_REGISTRY, build_trainer
from dassl.engine.net import SimpleNet
from dassl.engine.simple import SimpleTrainer
from dassl.engine.stopping import Stopped
from dassl.engine.trainer import TrainerX, TrainerXU

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
