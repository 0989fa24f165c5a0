"""A linear head beside the cosine, on features of its own making (DePT, arXiv 2309.07439)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from promptclip.learner import Classes, Features, Head, Output, cosine_logits


class ChannelAffine(nn.Module):
    """scale * x + bias, a number of either per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return x * self.scale + self.bias


class ProbeHead(Head, kind="probe"):
    """(1 - weight) * cosine logits + weight * linear(affine(x)) for classes trained on; for others the cosine alone.

    Args:
        classes: how many are trained on.
        features: D.
        weight: of the linear head.
    """

    def __init__(self, classes: int, features: int, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.film_lp_img, self.film_lp_text = ChannelAffine(features), ChannelAffine(features)
        self.linear_probe_proj = nn.Linear(features, classes)

    def settings(self) -> dict[str, Any]:
        classes, features = self.linear_probe_proj.weight.shape
        return {"classes": classes, "features": features, "weight": self.weight}

    def probe(self, image: Tensor) -> Tensor:
        """(B, N) logits of the linear head for the N classes trained on."""
        return self.linear_probe_proj(self.film_lp_img(image.to(self.linear_probe_proj.weight.dtype)))

    def forward(self, features: Features, classes: Classes, logit_scale: Tensor) -> Tensor:
        """(B, K) logits."""
        similarity = cosine_logits(features.image, features.text, logit_scale)
        if not classes.all_trained:
            return similarity
        return (1 - self.weight) * similarity + self.weight * self.probe(features.image)[:, classes.rows]

    def inference(self, classes: Classes) -> str:
        return "cosine and linear head" if classes.all_trained else "cosine alone"

    def loss(self, output: Output, labels: Tensor) -> Tensor:
        """Cross-entropy of the linear head on the 2B features [text of the label; image] (Eq. 5-6)."""
        dtype = self.linear_probe_proj.weight.dtype
        text, image = self.film_lp_text(output.text[labels].to(dtype)), self.film_lp_img(output.image.to(dtype))
        logits = self.linear_probe_proj(torch.cat([text, image]))
        return F.cross_entropy(logits, torch.cat([labels, labels]))
