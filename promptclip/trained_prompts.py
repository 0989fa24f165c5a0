"""Prompts as a file of a trained classifier holds them: their tokens, whatever module learned them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from promptclip.class_prompts import ClassPrompts
from promptclip.class_texts import fill
from promptclip.prompts import PromptModule


class TrainedPrompts(PromptModule, kind="prompts"):
    """Tokens of either tower, block by block: what CoOp's context, MaPLe's coupled and PromptSRC's independent prompts
    all come to once they are trained.

    Args:
        text: shape of each block's text prompt, (n, width), or for block 0 (K, n, width); None for a block without.
        vision: shape of each block's vision prompt, (n, width), or None.
        words: the written context; what it has beyond the learned tokens stays in the prompt.
        position: where the class name stands: "end", "middle" or "front".
        template: what stands for a class where no text token is learned, {} being its name.
    """

    def __init__(
        self,
        text: Sequence[Sequence[int] | None] = (),
        vision: Sequence[Sequence[int] | None] = (),
        words: str = "",
        position: str = "end",
        template: str = "",
    ) -> None:
        super().__init__()
        self.words, self.position, self.template = words, position, template
        self.text_tokens, self.vision_tokens = _Blocks(text), _Blocks(vision)

    @classmethod
    def of(cls, prompts: PromptModule, words: str = "", position: str = "end", template: str = "") -> "TrainedPrompts":
        """What `prompts`, which do not depend on the image, give now."""
        with torch.no_grad():
            text, vision = prompts.text(), prompts.vision()
        trained = cls(_shapes(text), _shapes(vision), words, position, template)
        trained.text_tokens.fill(text)
        trained.vision_tokens.fill(vision)
        return trained

    def settings(self) -> dict[str, Any]:
        towers = {"text": self.text_tokens.shapes(), "vision": self.vision_tokens.shapes()}
        return towers | {"words": self.words, "position": self.position, "template": self.template}

    def vision(self) -> list[Tensor | None]:
        return self.vision_tokens()

    def text(self, image: Tensor | None = None) -> list[Tensor | None]:
        return self.text_tokens()

    @property
    def new_classes(self) -> str:  # type: ignore[override]
        context = next(iter(self.text()), None)
        return "its contexts belong to the classes it was trained on, one each" if _is_own(context) else ""

    @property
    def own_contexts(self) -> int:
        """How many classes have a context of their own; 0 where all share one."""
        context = next(iter(self.text()), None)
        return len(context) if context is not None and _is_own(context) else 0

    def with_template(self, template: str) -> "TrainedPrompts":
        if self.text():
            raise ValueError("its learned context stands in the place of a template")
        return TrainedPrompts.of(self, self.words, self.position, template)

    def class_prompts(self, names: list[str], context_length: int) -> ClassPrompts:
        context = next(iter(self.text()), None)
        if context is None:
            return ClassPrompts.from_texts(fill(self.template or "{}", names), context_length)
        return ClassPrompts.with_context(
            names, context.shape[-2], self.words, self.position, _is_own(context), context_length
        )


class _Blocks(nn.Module):
    """One tower's prompts by the number of their block; blocks without have no entry."""

    def __init__(self, shapes: Sequence[Sequence[int] | None]) -> None:
        super().__init__()
        self.depth = len(shapes)
        for block, shape in enumerate(shapes):
            if shape is not None:
                self.register_parameter(str(block), nn.Parameter(torch.zeros(*shape)))

    def forward(self) -> list[Tensor | None]:
        return [getattr(self, str(block), None) for block in range(self.depth)]

    def fill(self, tokens: Sequence[Tensor | None]) -> None:
        """Take over the tokens of each block."""
        for block, one in enumerate(tokens):
            if one is not None:
                setattr(self, str(block), nn.Parameter(one.detach().clone()))

    def shapes(self) -> list[list[int] | None]:
        """Of each block's tokens."""
        return _shapes(self())


def _shapes(tokens: Sequence[Tensor | None]) -> list[list[int] | None]:
    return [None if one is None else list(one.shape) for one in tokens]


def _is_own(context: Tensor | None) -> bool:
    """Whether a context is one per class."""
    return context is not None and context.dim() == 3
