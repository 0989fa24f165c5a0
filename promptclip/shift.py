"""Feature shift: what the prompts change in a block's output at the tokens that are not prompts.

RESTORE (arXiv 2403.06136), Eq. 6: for each block l, Omega_l = G_{l+1} - Phi_l(G_l), with and without prompts from
the same input. The towers hand back one Frobenius norm per block and sample; how these become one number per block
and modality (Eq. 7-8 leave it open) is decided here.
"""

from typing import NamedTuple

import torch
from torch import Tensor

NORMS = ("fro", "rms", "relative")


class FeatureShift(NamedTuple):
    """Per-block norms of the shift.

    Attributes:
        norm: (L, N) Frobenius norm of Omega_l of each of N samples (images, or classes).
        entries: (N,) number of entries of Omega (tokens x width) of each sample.
    """

    norm: Tensor
    entries: Tensor

    def per_block(self, norm: str = "rms") -> Tensor:
        """(L,) mean over samples of the norm: "fro" (Eq. 8 as written) or "rms" (root mean square of the entries).

        "relative" starts from "fro" and is divided by its first value elsewhere (`ShiftReference`).

        Raises:
            ValueError: unknown `norm`.
        """
        if norm not in NORMS:
            raise ValueError(f"SHIFT_NORM {norm!r} is none of {', '.join(NORMS)}.")
        values = self.norm / self.entries.sqrt() if norm == "rms" else self.norm
        return values.mean(dim=1)


def square_sum(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Sum of squares over `dim`, in float32 where `x` is in half precision and would overflow."""
    return (x.float() if x.dtype in (torch.float16, torch.bfloat16) else x).square().sum(dim)


def root(squares: Tensor) -> Tensor:
    """Square root whose gradient is zero, not infinite, where a block shifts nothing."""
    return squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt()


def consistency(image: Tensor, text: Tensor) -> Tensor:
    """L^fs, Eq. 9-10: sum over blocks of the squared difference of the two modalities' norms, each (L,).

    Towers of different depth are compared block by block from the first one on, as far as both go.
    """
    blocks = min(len(image), len(text))
    return (image[:blocks] - text[:blocks]).square().sum()
