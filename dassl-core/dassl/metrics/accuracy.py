"""Upstream's place of this name."""

from dassl.utils.logger import compute_accuracy

__all__ = ["compute_accuracy"]
