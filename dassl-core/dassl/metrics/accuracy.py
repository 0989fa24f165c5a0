"""This name under upstream's module path."""

from dassl.utils.logger import compute_accuracy

__all__ = ["compute_accuracy"]
