"""Prompts a class that are made of what CLIP knows of it (TCP, arXiv 2311.18231)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from promptclip.changes import BlockChange, Changes
from promptclip.class_prompts import ClassPrompts
from promptclip.class_texts import fill
from promptclip.prompts import PromptModule, random_prompt


class TemplateContext(PromptModule, kind="template_context"):
    """A context in place of the first `n_ctx` tokens of a template.

    Args:
        n_ctx: tokens.
        width: of the text tower.
        template: with {} for the class name, such as "X X X X {}, a type of pet."
    """

    def __init__(self, n_ctx: int, width: int, template: str) -> None:
        super().__init__()
        self.template = template
        self.ctx = random_prompt(n_ctx, width)

    def settings(self) -> dict[str, Any]:
        n_ctx, width = self.ctx.shape
        return {"n_ctx": n_ctx, "width": width, "template": self.template}

    def text(self, image: Tensor | None = None) -> list[Tensor]:
        return [self.ctx]

    def class_prompts(self, names: list[str], context_length: int) -> ClassPrompts:
        return ClassPrompts.over_texts(fill(self.template, names), len(self.ctx), context_length)


class MetaNet(nn.Module):
    """D -> D / 4 -> n * W, QuickGELU between."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(features, features // 4)
        self.linear2 = nn.Linear(features // 4, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(K, D) -> (K, n * W)."""
        hidden = self.linear1(x)
        return self.linear2(hidden * torch.sigmoid(1.702 * hidden))


class ClassAwareTokens(Changes, kind="class_aware_tokens"):
    """At the input of one text block, tokens made of each class's plain CLIP feature replace positions 1..n of its
    sequence (TCP, Eq. 5-7).

    Args:
        features: D.
        width: W of the text tower.
        n: tokens a class.
        block: counted from 0.
        template: of the texts whose features are the knowledge.
    """

    def __init__(self, features: int, width: int, n: int, block: int, template: str) -> None:
        super().__init__()
        self._settings = {"features": features, "width": width, "n": n, "block": block, "template": template}
        self.n, self.width, self.block, self.template = n, width, block, template
        self.meta_net = MetaNet(features, n * width)

    def settings(self) -> dict[str, Any]:
        return self._settings

    def knowledge_texts(self, names: list[str]) -> list[str]:
        return fill(self.template, names)

    def text(self, known: Tensor | None) -> list[BlockChange | None]:
        if known is None:
            raise ValueError("Class-aware tokens are made of the classes' plain CLIP features: none were given.")
        normed = F.normalize(known.to(self.meta_net.linear1.weight.dtype), dim=-1)
        tokens = self.meta_net(normed).unflatten(1, (self.n, self.width))
        none: list[BlockChange | None] = [None] * self.block
        return [*none, BlockChange(class_tokens=tokens)]
