"""Rectified Adam (Liu et al., 2020), as upstream's `radam` steps."""

from collections.abc import Iterable

import torch


class RAdam(torch.optim.RAdam):
    """torch's RAdam with upstream's arguments and, as there, with decoupled weight decay."""

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        degenerated_to_sgd: bool = True,
    ):
        if not degenerated_to_sgd:
            raise ValueError("RAdam without its first steps (degenerated_to_sgd=False) is not available.")
        super().__init__(params, lr, betas, eps, weight_decay, decoupled_weight_decay=True)


PlainRAdam = RAdam

__all__ = ["PlainRAdam", "RAdam"]
