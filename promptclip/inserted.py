"""Tokens put into both towers, and what is read off them (MMRL, arXiv 2503.08497)."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from promptclip.changes import BlockChange, Changes
from promptclip.learner import Classes, Features, Head
from promptclip.prompts import random_prompt


class InsertedTokens(Changes, kind="inserted_tokens"):
    """Tokens behind the first token of either tower's sequences, block by block.

    Args:
        text, vision: per block the shape [n, W] of its tokens, or None.
    """

    def __init__(self, text: Sequence[Sequence[int] | None], vision: Sequence[Sequence[int] | None]) -> None:
        super().__init__()
        self.shapes = {"text": [one and list(one) for one in text], "vision": [one and list(one) for one in vision]}
        for tower, shapes in self.shapes.items():
            for number, shape in enumerate(shapes):
                self.register_buffer(f"{tower}_{number}", None if shape is None else torch.zeros(*shape))

    def settings(self) -> dict[str, Any]:
        return dict(self.shapes)

    def _changes(self, tower: str) -> list[BlockChange | None]:
        tokens = [getattr(self, f"{tower}_{number}") for number in range(len(self.shapes[tower]))]
        return [None if one is None else BlockChange(tokens=one) for one in tokens]

    def vision(self) -> list[BlockChange | None]:
        return self._changes("vision")

    def text(self, known: Tensor | None) -> list[BlockChange | None]:
        return self._changes("text")


class RepresentationTokens(Changes):
    """Representation tokens R (n, r), projected into both towers by a layer of their own in each of some blocks (MMRL,
    Eq. 5-8). The projections of a tower start as copies of one draw, as in the reference.

    Args:
        text_width, vision_width: of the towers.
        n: tokens.
        dim: r.
        layers: blocks, counted from 1, one after the other.
    """

    def __init__(self, text_width: int, vision_width: int, n: int, dim: int, layers: Sequence[int]) -> None:
        super().__init__()
        self.first = layers[0]
        self.compound_rep_tokens = random_prompt(n, dim)
        to_vision, to_text = nn.Linear(dim, vision_width), nn.Linear(dim, text_width)
        self.compound_rep_tokens_r2vproj = nn.ModuleList(deepcopy(to_vision) for _ in layers)
        self.compound_rep_tokens_r2tproj = nn.ModuleList(deepcopy(to_text) for _ in layers)

    def _changes(self, projections: nn.ModuleList) -> list[BlockChange | None]:
        none: list[BlockChange | None] = [None] * (self.first - 1)
        return none + [BlockChange(tokens=one(self.compound_rep_tokens)) for one in projections]

    def vision(self) -> list[BlockChange | None]:
        return self._changes(self.compound_rep_tokens_r2vproj)

    def text(self, known: Tensor | None) -> list[BlockChange | None]:
        return self._changes(self.compound_rep_tokens_r2tproj)

    @torch.no_grad()
    def trained(self) -> InsertedTokens:
        """The projected tokens alone."""
        towers = {"text": self.text(None), "vision": self.vision()}
        tokens = {tower: [one and one.tokens for one in found] for tower, found in towers.items()}
        shapes = {tower: [None if one is None else list(one.shape) for one in found] for tower, found in tokens.items()}
        made = InsertedTokens(**shapes)
        for tower, found in tokens.items():
            for number, one in enumerate(found):
                if one is not None:
                    getattr(made, f"{tower}_{number}").copy_(one)
        return made


class RepresentationHead(Head, kind="representation_head"):
    """Logits of the class token, and for classes trained on also of the representation tokens (MMRL, Eq. 15).

    scale * (alpha cos(x, t) + (1 - alpha) cos(x_r, t)), x_r the mean over the put-in tokens of ln_post(token) proj_rep.

    Args:
        width: W of the vision tower.
        features: D.
        alpha: share of the class token.
        scale: of the cosine; the reference has the number 100 here and leaves CLIP's logit scale unused.
    """

    def __init__(self, width: int, features: int, alpha: float, scale: float = 100.0) -> None:
        super().__init__()
        self.alpha, self.scale = alpha, scale
        self.proj_rep = nn.Parameter(torch.randn(width, features) * width**-0.5)

    def settings(self) -> dict[str, Any]:
        width, features = self.proj_rep.shape
        return {"width": width, "features": features, "alpha": self.alpha, "scale": self.scale}

    def main(self, image: Tensor, text: Tensor) -> Tensor:
        """Logits (B, K) of the class token's features (B, D)."""
        return self.scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).t()

    def representation(self, tokens: Tensor | None, text: Tensor) -> Tensor:
        """Logits (B, K) of the tokens (B, n, W) alone."""
        if tokens is None:
            raise ValueError("No tokens were put into the vision tower: there is no representation feature.")
        return self.main((tokens.to(self.proj_rep.dtype) @ self.proj_rep).mean(1), text.to(self.proj_rep.dtype))

    def forward(self, features: Features, classes: Classes, logit_scale: Tensor) -> Tensor:
        """(B, K) logits."""
        logits = self.main(features.image, features.text)
        if not classes.all_trained:
            return logits
        return self.alpha * logits + (1 - self.alpha) * self.representation(features.tokens, features.text)

    def inference(self, classes: Classes) -> str:
        return "class and representation tokens" if classes.all_trained else "class token alone"
