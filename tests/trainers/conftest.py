"""What the trainers' tests share."""

import pytest
import torch

import trainers.trainer
from promptclip.model import Precision


class Anywhere(Precision):
    """fp16 and amp where there is no CUDA."""

    def __init__(self, name: str, device: torch.device) -> None:
        super().__init__("amp" if name == "bf16" else name, torch.device("cuda"))
        if name == "bf16":  # which on CUDA asks the GPU
            self.name, self.autocast = name, torch.bfloat16


@pytest.fixture
def anywhere(monkeypatch):
    """Runs take every precision on a CPU too."""
    monkeypatch.setattr(trainers.trainer, "Precision", Anywhere)
