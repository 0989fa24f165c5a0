"""Adapters: small networks beside blocks (MMA, CVPR 2024), on features (CLIP-Adapter, arXiv 2110.04544; CoPrompt, arXiv
2306.01195), and residuals of text features (TaskRes, arXiv 2211.10277)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from promptclip.changes import BlockChange, Changes
from promptclip.learner import Corrections

# ---- beside blocks -----------------------------------------------------------------------------------------------


class Rescaled(torch.autograd.Function):
    """x times `forward_scale`; its gradient times `backward_scale`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forward_scale: float, backward_scale: float) -> Tensor:
        ctx.backward_scale = backward_scale
        return x * forward_scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad * ctx.backward_scale, None, None


class TowerAdapter(nn.Module):
    """The part of one block's adapter that is one tower's: width W -> dim, and back."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Linear(width, dim), nn.ReLU())
        self.up = nn.Linear(dim, width)


class MultiModalAdapters(Changes, kind="multimodal_adapters"):
    """y = scale * up(relu(shared(relu(down(ln_1 h))))) is added to a block's output; `shared` serves both towers (MMA).

    The reference multiplies gradients on the way: adapters learn as if their scale were 1, while what flows on to the
    block's input is the true gradient. `rescaled` keeps that; without it gradients are those of the function.

    Args:
        text_width, vision_width: of the towers.
        first, last: blocks with adapters, counted from 1, `last` among them.
        dim: width between the two linears.
        scale: of what is added.
        rescaled: gradients as the reference's.
    """

    def __init__(
        self, text_width: int, vision_width: int, first: int, last: int, dim: int, scale: float, rescaled: bool = True
    ) -> None:
        super().__init__()
        self._settings: dict[str, Any] = {
            "text_width": text_width,
            "vision_width": vision_width,
            "first": first,
            "last": last,
        }
        self._settings |= {"dim": dim, "scale": scale, "rescaled": rescaled}
        self.scale, self.rescaled, self.first = scale, rescaled, first
        numbers = [str(number) for number in range(first, last + 1)]
        self.text_adapter = nn.ModuleDict({number: TowerAdapter(text_width, dim) for number in numbers})
        self.visual_adapter = nn.ModuleDict({number: TowerAdapter(vision_width, dim) for number in numbers})
        shared = {number: nn.Sequential(nn.Linear(dim, dim), nn.ReLU()) for number in numbers}
        self.shared_adapter = nn.ModuleDict(shared)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def settings(self) -> dict[str, Any]:
        return self._settings

    def _changes(self, towers: nn.ModuleDict) -> list[BlockChange | None]:
        none: list[BlockChange | None] = [None] * (self.first - 1)
        return none + [BlockChange(adapter=self._beside(towers[number], number)) for number in towers]

    def _beside(self, tower: nn.Module, number: str) -> Callable[[Tensor], Tensor]:
        assert isinstance(tower, TowerAdapter)
        shared = self.shared_adapter[number]

        def adapter(u: Tensor) -> Tensor:
            u = u.to(tower.up.weight.dtype)
            if not (self.rescaled and torch.is_grad_enabled()):
                return self.scale * tower.up(shared(tower.down(u)))
            inner = tower.up(shared(tower.down(Rescaled.apply(u, 1.0, self.scale))))
            return Rescaled.apply(inner, self.scale, 1.0)

        return adapter

    def vision(self) -> list[BlockChange | None]:
        return self._changes(self.visual_adapter)

    def text(self, known: Tensor | None) -> list[BlockChange | None]:
        return self._changes(self.text_adapter)


# ---- on features -------------------------------------------------------------------------------------------------


class FeatureAdapter(nn.Module):
    """(1 - ratio) x + ratio * relu(W2 relu(W1 x)), width D -> hidden -> D, without biases."""

    def __init__(self, width: int, hidden: int, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio
        first, second = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)
        self.fc = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.ratio * self.fc(x.to(next(self.parameters()).dtype)) + (1 - self.ratio) * x


class ImageAdapter(Corrections, kind="image_adapter"):
    """CLIP-Adapter's: on image features alone.

    Args:
        width: D.
        hidden: of the bottleneck.
        ratio: of the adapter's output in the mix.
    """

    def __init__(self, width: int, hidden: int, ratio: float) -> None:
        super().__init__()
        self._settings = {"width": width, "hidden": hidden, "ratio": ratio}
        self.adapter = FeatureAdapter(width, hidden, ratio)

    def settings(self) -> dict[str, Any]:
        return self._settings

    def image(self, features: Tensor) -> Tensor:
        return self.adapter(features)


class ImageTextAdapters(Corrections, kind="image_text_adapters"):
    """CoPrompt's: one on image features, one on text features.

    Args:
        width: D.
        hidden: of the bottlenecks.
        image_ratio, text_ratio: of the adapters' outputs in the mix.
    """

    def __init__(self, width: int, hidden: int, image_ratio: float, text_ratio: float) -> None:
        super().__init__()
        self._settings = {"width": width, "hidden": hidden, "image_ratio": image_ratio, "text_ratio": text_ratio}
        self.adapter_image = FeatureAdapter(width, hidden, image_ratio)
        self.adapter_text = FeatureAdapter(width, hidden, text_ratio)

    def settings(self) -> dict[str, Any]:
        return self._settings

    def image(self, features: Tensor) -> Tensor:
        return self.adapter_image(features)

    def text(self, features: Tensor, rows: Tensor) -> Tensor:
        return self.adapter_text(features)


# ---- residuals of text features ----------------------------------------------------------------------------------


class TextResiduals(Corrections, kind="text_residuals"):
    """t' = t + scale * residual of the class, t the raw text features; a new class has no residual.

    Args:
        classes: how many were trained on.
        width: D.
        scale: of the residual.
    """

    def __init__(self, classes: int, width: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.text_feature_residuals = nn.Parameter(torch.zeros(classes, width))

    def settings(self) -> dict[str, Any]:
        classes, width = self.text_feature_residuals.shape
        return {"classes": classes, "width": width, "scale": self.scale}

    def text(self, features: Tensor, rows: Tensor) -> Tensor:
        own = of_rows(self.text_feature_residuals, rows)
        return features + self.scale * own


def of_rows(table: Tensor, rows: Tensor) -> Tensor:
    """(K, D) rows of a table (N, D); zeros where the row is -1."""
    chosen = table.index_select(0, rows.clamp_min(0))
    return torch.where((rows >= 0)[:, None], chosen, 0)
