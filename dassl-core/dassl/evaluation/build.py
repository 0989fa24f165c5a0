"""Upstream's place of these names."""

from dassl.evaluation.evaluator import EVALUATOR_REGISTRY, build_evaluator

__all__ = ["EVALUATOR_REGISTRY", "build_evaluator"]
