"""Measures of a model's output."""

from dassl.utils.logger import compute_accuracy

__all__ = ["compute_accuracy"]
