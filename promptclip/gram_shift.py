"""Feature shift as RESTORE's released code estimates it: from Gram matrices of the prompts, not from features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from promptclip.prompts import Prompts


class GramShift(nn.Module):
    """s_i = ||P_i^T P_i||_F over its first value, for the deep prompts P_i of both towers; loss sum (s^t - s^v)^2.

    Zero at the first step by construction. The first values are buffers: unlike the released code, a resumed run
    keeps them.

    Args:
        depth: PROMPT_DEPTH; the shallow prompt is left out, so depth - 1 blocks count.
    """

    training_only = ("text_first", "image_first")
    text_first: Tensor
    image_first: Tensor

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.register_buffer("text_first", torch.zeros(depth - 1))
        self.register_buffer("image_first", torch.zeros(depth - 1))

    def forward(self, prompts: Prompts) -> Tensor:
        """The loss for a step's prompts, a scalar."""
        text = self._ratio(gram_norms(prompts.text), self.text_first)
        image = self._ratio(gram_norms(prompts.vision), self.image_first)
        return (text - image).square().sum()

    @staticmethod
    def _ratio(norms: Tensor, first: Tensor) -> Tensor:
        first.copy_(torch.where(first > 0, first, norms.detach()))
        return norms / first.clone()


def gram_norms(prompts: Sequence[Tensor | None]) -> Tensor:
    """(depth - 1,) ||P P^T||_F of the deep prompts, equal to ||P^T P||_F and smaller."""
    given = [prompt for prompt in prompts if prompt is not None]
    if len(given) < 2:
        return given[0].new_zeros(0)
    deep = torch.stack(given[1:])  # (depth - 1, n, width)
    return torch.linalg.matrix_norm(deep @ deep.transpose(1, 2))


@torch.no_grad()
def mean_gram_norms(prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Mean over deep blocks of ||P^T P||_F, (text, image); 0 where there is no deep block."""
    text, image = (gram_norms(side) for side in (prompts.text, prompts.vision))
    return _mean(text), _mean(image)


def _mean(norms: Tensor) -> Tensor:
    return norms.mean() if len(norms) else norms.sum()
