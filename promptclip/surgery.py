"""The surgery block that repairs shifted features (RESTORE, arXiv 2403.06136, Eq. 11)."""

import torch
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """CLIP's activation, x * sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Surgery(nn.Module):
    """Surgery(x) = W_down · act(W_up · LN(x)), width D -> 4D -> D; what it returns is scaled by alpha and added.

    Eq. 11 writes ReLU; the released code uses QuickGELU. Both linears carry a bias, as the released code's do.

    Args:
        width: D, the width of CLIP's joint embedding.
        activation: "relu" (paper) or "quickgelu" (released code).
        zero: start `W_down` at zero, so that training starts at the uncorrected model.
    """

    def __init__(self, width: int, activation: str = "relu", zero: bool = True) -> None:
        super().__init__()
        if activation not in ("relu", "quickgelu"):
            raise ValueError(f"The surgery's activation {activation!r} is none of relu, quickgelu.")
        self.ln = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.act = nn.ReLU() if activation == "relu" else QuickGELU()
        self.down = nn.Linear(4 * width, width)
        if zero:
            nn.init.zeros_(self.down.weight)
            nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Correction of features `x` (N, D), same shape."""
        return self.down(self.act(self.up(self.ln(x.to(self.ln.weight.dtype)))))
