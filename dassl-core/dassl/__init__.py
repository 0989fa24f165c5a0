"""The training engine that CoOp-style code is written for, on current PyTorch."""

__version__ = "0.7.0"
