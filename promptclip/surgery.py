"""Surgery, which repairs shifted features, and its strength (RESTORE, arXiv 2403.06136, Eq. 11).

x <- x + alpha_v Surgery_v(x) on image features, w <- w + alpha_t Surgery_t(w) on text features, before normalisation.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from promptclip.learner import Corrections

ACTIVATIONS = ("relu", "quickgelu")


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

    Raises:
        ValueError: unknown activation.
    """

    def __init__(self, width: int, activation: str = "relu", zero: bool = True) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"The surgery's activation {activation!r} is none of {', '.join(ACTIVATIONS)}.")
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


class Alpha(nn.Module):
    """Strength of one modality's surgery: alpha = gamma * sum over blocks of Norm(Omega_l), a running mean (Eq. 11).

    A control signal: no gradient flows through it. It is kept as a buffer, so that a test needs no second pass.

    Args:
        start: alpha before training, and at the first step where `gain` is 0.
        gain: gamma (image) or beta (text); 0 takes start / (summed shift of the first step), so that alpha begins at
            `start` whatever the backbone and the norm, and follows the shift from there.
        momentum: weight of the running mean's past.
    """

    training_only = ("gain", "steps")
    value: Tensor
    gain: Tensor
    steps: Tensor

    def __init__(self, start: float, gain: float, momentum: float) -> None:
        super().__init__()
        self.start, self.momentum = start, momentum
        self.register_buffer("value", torch.tensor(float(start)))
        self.register_buffer("gain", torch.tensor(float(gain)))
        self.register_buffer("steps", torch.tensor(0.0))

    @torch.no_grad()
    def update(self, norms: Tensor) -> None:
        """Take in one training step's norms (L,)."""
        total = norms.detach().sum().to(self.gain.dtype)
        first = self.start / total.clamp_min(torch.finfo(total.dtype).tiny)
        self.gain.copy_(torch.where(self.gain > 0, self.gain, first))
        keep = torch.where(self.steps > 0, self.momentum, 0.0)
        self.value.copy_(keep * self.value + (1 - keep) * self.gain * total)
        self.steps.add_(1)


class FeatureSurgery(Corrections, kind="surgery"):
    """Both modalities' surgery: one block each, and its strength.

    Args:
        width: D, the width of CLIP's joint embedding.
        image, text: (alpha at the start, gain) of either modality, as `Alpha` takes them.
        momentum: of the running mean of alpha.
        guided: let the feature shift of every training step set alpha (Eq. 11); else alpha stays as it is.
        activation, zero: as `Surgery` takes them.
    """

    def __init__(
        self,
        width: int,
        image: tuple[float, float],
        text: tuple[float, float],
        momentum: float,
        guided: bool,
        activation: Literal["relu", "quickgelu"] = "relu",
        zero: bool = True,
    ) -> None:
        super().__init__()
        self._settings = {"width": width, "image": [*image], "text": [*text], "momentum": momentum, "guided": guided}
        self._settings |= {"activation": activation, "zero": zero}
        self.guided = guided
        self.text_surgery = Surgery(width, activation, zero)
        self.text_alpha = Alpha(*text, momentum)
        self.image_surgery = Surgery(width, activation, zero)
        self.image_alpha = Alpha(*image, momentum)

    def settings(self) -> dict[str, Any]:
        return self._settings

    def strengths(self) -> dict[str, Callable[[Any], Tensor]]:
        """For the training line: alpha of either modality, by the name it is shown under."""
        return {
            "alpha_image": lambda output: self.image_alpha.value,
            "alpha_text": lambda output: self.text_alpha.value,
        }

    def follow_shift(self, norms: tuple[Tensor, Tensor] | None) -> None:
        """Let a training step's shift, image (L_v,) and text (L_t,), set the strength of its surgery."""
        if self.guided and norms is not None:
            self.image_alpha.update(norms[0])
            self.text_alpha.update(norms[1])

    def image(self, features: Tensor) -> Tensor:
        """x + alpha_v * Surgery_v(x), for x (B, D)."""
        return features + self.image_alpha.value * self.image_surgery(features)

    def text(self, features: Tensor, rows: Tensor) -> Tensor:
        """w + alpha_t * Surgery_t(w), for w (K, D)."""
        return features + self.text_alpha.value * self.text_surgery(features)
