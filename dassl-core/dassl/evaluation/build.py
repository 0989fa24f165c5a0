"""These names under upstream's module path."""

from dassl.evaluation.evaluator import EVALUATOR_REGISTRY, build_evaluator

__all__ = ["EVALUATOR_REGISTRY", "build_evaluator"]
