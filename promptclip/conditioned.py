"""A context conditioned on the image (CoCoOp, arXiv 2203.05557)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from promptclip.class_prompts import ClassPrompts
from promptclip.prompts import Context, PromptModule


class MetaNet(nn.Module):
    """Bottleneck from an image feature (B, D) to a shift of the context (B, width); hidden size D / 16."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(features, features // 16)
        self.linear2 = nn.Linear(features // 16, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(torch.relu(self.linear1(x)))


class ConditionedContext(PromptModule, kind="conditioned_context"):
    """Context plus what the meta-net makes of an image (Eq. 2-3: v_m(x) = v_m + pi, pi = h(x)).

    Args:
        n_ctx, width: shape of the context, which starts at zero here and from a `Context` with `of`.
        features: D, the width of the image features.
        words, position: as `Context` takes them.
    """

    per_image = True

    def __init__(self, n_ctx: int, width: int, features: int, words: str = "", position: str = "end") -> None:
        super().__init__()
        self.words, self.position, self.features = words, position, features
        self.ctx = nn.Parameter(torch.zeros(n_ctx, width))
        self.meta_net = MetaNet(features, width)

    @classmethod
    def of(cls, context: Context, features: int) -> "ConditionedContext":
        """`context`, conditioned on image features of width `features`."""
        n_ctx, width = context.ctx.shape
        conditioned = cls(n_ctx, width, features, context.words, context.position)
        conditioned.ctx = context.ctx
        return conditioned

    def settings(self) -> dict[str, Any]:
        n_ctx, width = self.ctx.shape
        sizes = {"n_ctx": n_ctx, "width": width, "features": self.features}
        return sizes | {"words": self.words, "position": self.position}

    def text(self, image: Tensor | None = None) -> list[Tensor]:
        """One context (B, n, width) for each of B image features (B, D)."""
        if image is None:
            raise ValueError("CoCoOp's context depends on the image: give the image features.")
        return [self.ctx + self.meta_net(F.normalize(image, dim=-1).float())[:, None]]

    def class_prompts(self, names: list[str], context_length: int) -> ClassPrompts:
        return ClassPrompts.with_context(names, len(self.ctx), self.words, self.position, context_length=context_length)
