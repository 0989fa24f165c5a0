"""Low-rank deltas of the attention's weights (CLIP-LoRA, arXiv 2405.18541)."""

from collections.abc import Callable
from typing import Any

import torch
from clip.model import CLIP
from torch import Tensor, nn
from torch.nn import functional as F

from promptclip.changes import BlockChange, Changes


class ProjectionLoRA(nn.Module):
    """Delta of one projection: scale * drop(x) A^T B^T, A (r, W), B (W, r); B starts at zero."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.w_lora_A = nn.Parameter(torch.empty(rank, width))
        self.w_lora_B = nn.Parameter(torch.zeros(width, rank))
        nn.init.kaiming_uniform_(self.w_lora_A, a=5**0.5)


class BlockLoRA(nn.Module):
    """Deltas of one block's queries, keys and values, as far as they are learned.

    Args:
        width: W.
        rank: r.
        scale: of the delta.
        dropout: of what enters the delta in training; every projection draws its own.
        parts: which of "qkv".
    """

    def __init__(self, width: int, rank: int, scale: float, dropout: float, parts: str) -> None:
        super().__init__()
        self.scale = scale
        for part in parts:
            self.add_module(f"{part}_proj", ProjectionLoRA(width, rank))
        self.drop: Callable[[Tensor, str], Tensor] = lambda x, part: F.dropout(x, dropout, self.training)

    def forward(self, x: Tensor, parts: str) -> Tensor:
        """(..., W) normalised tokens -> (..., len(parts) * W)."""
        found = []
        for part in parts:
            one = getattr(self, f"{part}_proj", None)
            if one is None:
                found.append(torch.zeros_like(x))
                continue
            dropped = self.drop(x.to(one.w_lora_A.dtype), part)
            found.append(self.scale * F.linear(F.linear(dropped, one.w_lora_A), one.w_lora_B))
        return torch.cat(found, dim=-1)


class LowRankDeltas(Changes, kind="low_rank"):
    """Deltas in every block of the chosen towers.

    Args:
        text, vision: [blocks, width] of either tower; [0, width] leaves it as it is.
        rank: r.
        scale: of the deltas; the reference has alpha / sqrt(r), its paper alpha / r.
        dropout: probability.
        parts: which of queries, keys and values, "qkv".
    """

    def __init__(
        self, text: list[int], vision: list[int], rank: int, scale: float, dropout: float = 0.0, parts: str = "qkv"
    ) -> None:
        super().__init__()
        self._settings = {"text": list(text), "vision": list(vision), "rank": rank, "scale": scale}
        self._settings |= {"dropout": dropout, "parts": parts}
        self.dropout = dropout
        made = [
            nn.ModuleList(BlockLoRA(width, rank, scale, dropout, parts) for _ in range(blocks))
            for blocks, width in (text, vision)
        ]
        self.text_lora, self.visual_lora = made

    def settings(self) -> dict[str, Any]:
        return self._settings

    def _changes(self, tower: nn.ModuleList) -> list[BlockChange]:
        random = self.training and self.dropout > 0
        return [BlockChange(delta=block, random=random) for block in tower]

    def vision(self) -> list[BlockChange]:
        return self._changes(self.visual_lora)

    def text(self, known: Tensor | None) -> list[BlockChange]:
        return self._changes(self.text_lora)

    @torch.no_grad()
    def merged_state(self, model: CLIP) -> dict[str, Tensor]:
        state = {name: value.clone() for name, value in model.state_dict().items()}
        for tower, prefix in ((self.text_lora, ""), (self.visual_lora, "visual.")):
            for number, block in enumerate(tower):
                weight = state[f"{prefix}transformer.resblocks.{number}.attn.in_proj_weight"]
                width = weight.shape[1]
                for place, part in enumerate("qkv"):
                    one = getattr(block, f"{part}_proj", None)
                    if one is not None:
                        assert isinstance(block, BlockLoRA)
                        delta = block.scale * one.w_lora_B @ one.w_lora_A
                        weight[place * width : (place + 1) * width] += delta.to(weight)
        return state
