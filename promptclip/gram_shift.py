"""Feature shift as RESTORE's released code estimates it: from Gram matrices of the prompts, not from features."""

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


def gram_norms(prompts: list[Tensor]) -> Tensor:
    """(depth - 1,) ||P P^T||_F of the deep prompts, equal to ||P^T P||_F and smaller."""
    if len(prompts) < 2:
        return prompts[0].new_zeros(0)
    deep = torch.stack(prompts[1:])  # (depth - 1, n, width)
    return torch.linalg.matrix_norm(deep @ deep.transpose(1, 2))


@torch.no_grad()
def mean_gram_norms(prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Mean over deep blocks of ||P^T P||_F, (text, image); 0 where there is no deep block."""
    text, image = (gram_norms(side) for side in (prompts.text, prompts.vision))
    return tuple(norms.mean() if len(norms) else norms.sum() for norms in (text, image))
