"""Accuracy of a batch, for log lines."""

from collections.abc import Sequence

import torch


def compute_accuracy(
    output: torch.Tensor | Sequence[torch.Tensor], target: torch.Tensor, topk: Sequence[int] = (1,)
) -> list[torch.Tensor]:
    """Return, for each k of `topk`, the percentage of samples whose label is among the k highest scores.

    `output` are scores (B, K), or a tuple that starts with them; `target` labels (B). Each result has shape (1,).
    """
    if isinstance(output, tuple | list):
        output = output[0]
    ranked = output.topk(max(topk), dim=1).indices  # (B, max k)
    hit = ranked.eq(target.view(-1, 1))
    return [hit[:, :k].any(dim=1).float().mean(dim=0, keepdim=True) * 100.0 for k in topk]
