"""These names under upstream's module path."""

from dassl.engine.trainer import TRAINER_REGISTRY, build_trainer

__all__ = ["TRAINER_REGISTRY", "build_trainer"]
