"""LayerNorms of the blocks' own, and a classifier of the classes trained on (2SFS, arXiv 2503.11609)."""

from collections.abc import Callable
from typing import Any

import torch
from clip.model import CLIP
from torch import Tensor, nn
from torch.nn import functional as F

from promptclip.changes import BlockChange, Changes
from promptclip.learner import Classes, Features, Head, cosine_logits


class BlockNorms(nn.Module):
    """Weights and biases of one block's two LayerNorms."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)


class TrainedNorms(Changes, kind="norms"):
    """ln_1 and ln_2 of every block of both towers.

    Args:
        text, vision: [blocks, width] of either tower.

    Attributes:
        fixed: they learn no more.
    """

    fixed = False

    def __init__(self, text: list[int], vision: list[int]) -> None:
        super().__init__()
        self._settings = {"text": list(text), "vision": list(vision)}
        made = [nn.ModuleList(BlockNorms(width) for _ in range(blocks)) for blocks, width in (text, vision)]
        self.text_norms, self.visual_norms = made

    def settings(self) -> dict[str, Any]:
        return self._settings

    @torch.no_grad()
    def start_from(self, model: CLIP) -> None:
        """Take over CLIP's own."""
        for own, tower in ((self.text_norms, model.transformer), (self.visual_norms, model.visual.transformer)):
            for norms, block in zip(own, tower.resblocks, strict=True):
                for name in ("ln_1", "ln_2"):
                    getattr(norms, name).load_state_dict(getattr(block, name).state_dict())

    def _norm(self, own: nn.LayerNorm) -> Callable[[Tensor], Tensor]:
        def norm(x: Tensor) -> Tensor:
            weight, bias = (own.weight.detach(), own.bias.detach()) if self.fixed else (own.weight, own.bias)
            return F.layer_norm(x.to(weight.dtype), own.normalized_shape, weight, bias, own.eps).to(x.dtype)

        return norm

    def _changes(self, tower: nn.ModuleList) -> list[BlockChange]:
        pairs = [(norms.ln_1, norms.ln_2) for norms in tower if isinstance(norms, BlockNorms)]
        return [BlockChange(ln_1=self._norm(first), ln_2=self._norm(second)) for first, second in pairs]

    def vision(self) -> list[BlockChange]:
        return self._changes(self.visual_norms)

    def text(self, known: Tensor | None) -> list[BlockChange]:
        return self._changes(self.text_norms)

    @torch.no_grad()
    def merged_state(self, model: CLIP) -> dict[str, Tensor]:
        state = {name: value.clone() for name, value in model.state_dict().items()}
        for tower, prefix in ((self.text_norms, ""), (self.visual_norms, "visual.")):
            for key, value in tower.state_dict().items():
                name = f"{prefix}transformer.resblocks.{key}"
                state[name] = value.to(state[name])
        return state


class ClassRowsHead(Head, kind="class_rows"):
    """Cosine to a learned row for classes trained on, to the text feature for others; before the rows are learned, to
    the text feature for all.

    Args:
        classes: how many are trained on.
        features: D.

    Attributes:
        learned: 1 once the rows count.
    """

    learned: Tensor

    def __init__(self, classes: int, features: int) -> None:
        super().__init__()
        self.classifier = nn.Parameter(torch.zeros(classes, features))
        self.register_buffer("learned", torch.zeros(()))

    def settings(self) -> dict[str, Any]:
        classes, features = self.classifier.shape
        return {"classes": classes, "features": features}

    def forward(self, features: Features, classes: Classes, logit_scale: Tensor) -> Tensor:
        """(B, K) logits."""
        if self.training and not self.learned:  # so that the rows get no gradient yet
            return cosine_logits(features.image, features.text, logit_scale)
        rows = classes.rows
        chosen = self.classifier.index_select(0, rows.clamp_min(0))
        text = torch.where(
            ((rows >= 0) & (self.learned > 0))[:, None], F.normalize(chosen, dim=-1), F.normalize(features.text, dim=-1)
        )
        return cosine_logits(features.image, text.to(features.image.dtype), logit_scale)

    def inference(self, classes: Classes) -> str:
        if not self.learned:
            return "text tower"
        known = int((classes.rows >= 0).sum())
        names = {0: "text tower", len(classes.names): "classifier"}
        return names.get(known, f"classifier for {known} classes, text tower for {len(classes.names) - known}")
