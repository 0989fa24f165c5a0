"""Heads made of training features: a cache of them (Tip-Adapter, arXiv 2207.09519), and a linear head mixed with the
text side by a weight a class (LP++, arXiv 2404.02285)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from promptclip.learner import Classes, Features, Head

SPLITS = ("none", "val", "test")
"""What a head may have been chosen on, in the order of its number in files."""


class SelectedHead(Head):
    """Base of the heads of which something was chosen by accuracy on a split."""

    selection: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("selection", torch.zeros(()))

    @property
    def selected_on(self) -> str | None:
        """The split, None if nothing was chosen."""
        number = int(self.selection)
        return SPLITS[number] if number else None

    def mark(self, split: str) -> None:
        """Remember that something was chosen on `split`."""
        self.selection.fill_(SPLITS.index(split))


class KeysLayer(nn.Module):
    """The cache's keys as the weight (N, D) of a layer, as the reference's checkpoints have it."""

    def __init__(self, entries: int, features: int, learned: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(entries, features), requires_grad=learned)


class CacheHead(SelectedHead, kind="cache"):
    """scale * cos(x, t) + alpha * sum over entries of exp(-beta (1 - n(x) key)) in the column of the entry's class.

    The scale is a literal 100 in the reference. Keys are not normalised again once they have learned. A class that was
    not trained on has no entries and is told by its text alone.

    Args:
        entries: N, of the cache.
        features: D.
        classes: K, trained on.
        scale: of the cosine to the text features.
        alpha, beta: weight of the cache, and how sharply it decides, before they are chosen.
    """

    labels: Tensor
    alpha: Tensor
    beta: Tensor

    def __init__(
        self, entries: int, features: int, classes: int, scale: float = 100.0, alpha: float = 1.0, beta: float = 1.0
    ) -> None:
        super().__init__()
        self.classes, self.scale = classes, scale
        self.adapter = KeysLayer(entries, features, learned=False)
        self.register_buffer("labels", torch.zeros(entries))
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.register_buffer("beta", torch.tensor(float(beta)))

    def settings(self) -> dict[str, Any]:
        entries, features = self.adapter.weight.shape
        return {"entries": entries, "features": features, "classes": self.classes, "scale": self.scale}

    def resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        entries = shapes.get("adapter.weight", (0,))[0]
        if entries != len(self.labels):
            weight, labels = self.adapter.weight, self.labels
            learned = weight.requires_grad
            self.adapter.weight = nn.Parameter(weight.new_zeros(entries, weight.shape[1]), requires_grad=learned)
            self.labels = labels.new_zeros(entries)

    def affinity(self, image: Tensor) -> Tensor:
        """(B, N) of normalised image features (B, D)."""
        return image @ self.adapter.weight.t()

    def votes(self, affinity: Tensor, beta: Tensor | float) -> Tensor:
        """(B, K) sums over the entries of each of the K classes trained on, of affinities (B, N)."""
        strength = (-beta * (1 - affinity)).exp()
        return strength.new_zeros(strength.shape[0], self.classes).index_add(1, self.labels.long(), strength)

    def forward(self, features: Features, classes: Classes, logit_scale: Tensor) -> Tensor:
        """(B, K) logits."""
        image = F.normalize(features.image, dim=-1).to(self.adapter.weight.dtype)
        logits = self.scale * image @ F.normalize(features.text, dim=-1).to(image.dtype).t()
        votes = self.votes(self.affinity(image), self.beta)
        own = votes.index_select(1, classes.rows.clamp_min(0))
        return logits + self.alpha * torch.where(classes.rows >= 0, own, 0)

    def inference(self, classes: Classes) -> str:
        known = int((classes.rows >= 0).sum())
        names = {0: "text alone", len(classes.names): "text and cache"}
        return names.get(known, f"text; cache for {known} of {len(classes.names)} classes")


class LinearTextHead(SelectedHead, kind="linear_text"):
    """n(x) W^T + b + a * (n(x) t), a weight `a` a class, for classes trained on; where one is new, all are
    told as zero-shot CLIP tells them.

    Args:
        classes: K, trained on.
        features: D.
    """

    def __init__(self, classes: int, features: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(features, classes)
        self.alpha = nn.Parameter(torch.ones(1, classes))
        self.requires_grad_(False)

    def settings(self) -> dict[str, Any]:
        classes, features = self.classifier.weight.shape
        return {"classes": classes, "features": features}

    def logits(self, image: Tensor, similarity: Tensor) -> Tensor:
        """(B, K) of normalised features (B, D) and their products with the text features (B, K)."""
        return self.classifier(image) + self.alpha * similarity

    def forward(self, features: Features, classes: Classes, logit_scale: Tensor) -> Tensor:
        """(B, K) logits."""
        image = F.normalize(features.image, dim=-1).to(self.alpha.dtype)
        similarity = image @ F.normalize(features.text, dim=-1).to(image.dtype).t()
        if not classes.all_trained:
            return logit_scale.exp() * similarity  # zero-shot CLIP
        rows = classes.rows
        linear = F.linear(image, self.classifier.weight[rows], self.classifier.bias[rows])
        return linear + self.alpha[:, rows] * similarity

    def inference(self, classes: Classes) -> str:
        return "linear head and text" if classes.all_trained else "text alone"
