"""The frozen CLIP that every method prompts."""

from collections.abc import Sequence

import torch
from clip.model import CLIP
from torch import Tensor

from promptclip.layout import Layout, lay_out
from promptclip.memory import kept_bytes
from promptclip.prompts import blocks
from promptclip.shift import FeatureShift
from promptclip.text import TextTower
from promptclip.tokens import ClassPrompts
from promptclip.vision import VisionTower


class PromptedCLIP:
    """Both towers of a frozen CLIP, run with prompts; holds no learnable part and is never saved.

    Args:
        model: a CLIP from `load_clip`, on the device and in the precision it shall run in.
    """

    def __init__(self, model: CLIP) -> None:
        self.model = model
        self.text = TextTower(model)
        self.vision = VisionTower(model)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.logit_scale.device

    def layout(self, classes: ClassPrompts) -> Layout:
        """`classes` packed for `encode_text`, on the weights' device; make it once and keep it."""
        return lay_out(classes).to(self.device)

    def set_checkpointing(self, on: bool) -> None:
        """Have the blocks of both towers computed again in the backward pass, which takes little memory but time."""
        self.text.checkpointing = self.vision.checkpointing = on

    def kept_bytes(self, layout: Layout | None, images: int, vision_prompts: int, shift: bool, passes: int = 1) -> int:
        """Estimate of what a training step keeps for its backward pass.

        Args:
            layout: the classes; a text tower without prompts, or without a layout, keeps nothing.
            images: number of images of a step.
            vision_prompts: tokens of a vision prompt; without any the vision tower keeps nothing.
            shift: whether the step measures shift.
            passes: text passes of a step.
        """
        model, total = self.model, 0
        itemsize = model.visual.conv1.weight.element_size()
        if layout is not None and layout.n_ctx:
            width = model.ln_final.weight.shape[0]
            total += kept_bytes("text", passes * len(layout.ids), width, blocks(model)[0], itemsize, shift)
        if vision_prompts:
            tokens, width = model.visual.positional_embedding.shape
            total += kept_bytes("vision", images * (tokens + vision_prompts), width, blocks(model)[1], itemsize, shift)
        return total

    def encode_image(
        self, images: Tensor, prompts: Sequence[Tensor | None] = (), shift: bool = False
    ) -> tuple[Tensor, FeatureShift | None]:
        """Features (B, D) of images (B, 3, H, W); see `VisionTower`."""
        return self.vision(images, prompts, shift)

    def encode_text(
        self, layout: Layout, prompts: Sequence[Tensor | None] = (), shift: bool = False
    ) -> tuple[Tensor, FeatureShift | None]:
        """Features (K, D) of K class prompts; see `TextTower`."""
        return self.text(layout, prompts, shift)

    @torch.no_grad()
    def encode_texts(self, texts: list[str], batch: int = 512) -> Tensor:
        """Features (N, D) of plain texts, without prompts and without gradient."""
        length = self.model.context_length
        chunks = (texts[i : i + batch] for i in range(0, len(texts), batch))
        return torch.cat([self.text(self.layout(ClassPrompts.from_texts(chunk, length)))[0] for chunk in chunks])
