"""The training engine the CoOp family is written for, written anew for current PyTorch."""

__version__ = "0.7.0"
