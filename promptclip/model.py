"""The frozen CLIP that every method prompts: both towers, the precision it runs in, and the memory a step takes."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from clip.model import CLIP, ResidualAttentionBlock, convert_weights
from torch import Tensor

from promptclip import kept
from promptclip.block import fold_slope
from promptclip.changes import BlockChange
from promptclip.class_prompts import ClassPrompts, Layout, in_rows, lay_out
from promptclip.shift import Encoded, at_least_single
from promptclip.text import TextTower
from promptclip.vision import VisionTower

WIDTHS_AT_ONCE = 14  # of a token in a block without gradients: input, norm, queries, keys, values, result, hidden layer
PRECISIONS = ("fp16", "fp32", "amp", "bf16")


class PromptedCLIP:
    """Both towers of a frozen CLIP, run with prompts; holds no learnable part and is never saved.

    Args:
        model: a CLIP from `load_clip`, on the device and in the precision it shall run in.
        in_rows: have attention take class prompts as rows of one length (`rows.py`); None: anywhere but on a CPU,
            where padding costs more than kernels do.
        autocast: the type that `Precision` keeps the blocks' matrices in, if that is not the other weights'.
    """

    def __init__(self, model: CLIP, in_rows: bool | None = None, autocast: torch.dtype | None = None) -> None:
        self.model = model
        self.in_rows = in_rows
        self.autocast = autocast
        self.text = TextTower(model)
        self.vision = VisionTower(model)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.logit_scale.device

    def layout(self, classes: ClassPrompts) -> Layout:
        """`classes` packed for `encode_text`, on the weights' device; make it once and keep it."""
        layout = lay_out(classes)
        rows = self.device.type != "cpu" if self.in_rows is None else self.in_rows
        return (in_rows(layout) if rows else layout).to(self.device)

    def _autocast(self) -> AbstractContextManager:
        return nullcontext() if self.autocast is None else torch.autocast(self.device.type, self.autocast)

    def set_checkpointing(self, on: bool) -> None:
        """Have the blocks of both towers computed again in the backward pass, which takes little memory but time."""
        self.text.checkpointing = self.vision.checkpointing = on

    def kept_bytes(
        self,
        layout: Layout | None,
        images: int,
        vision_prompts: int,
        shift: bool,
        passes: int = 1,
        text_changes: Sequence[BlockChange | None] = (),
        vision_changes: Sequence[BlockChange | None] = (),
        constant: bool = False,
    ) -> int:
        """Bytes that a training step keeps for its backward pass, as `kept` counts them.

        Args:
            layout: the classes; a text tower without a layout keeps nothing.
            images: number of images of a step.
            vision_prompts: tokens of a vision prompt.
            shift: whether the step measures shift.
            passes: text passes of a step.
            text_changes, vision_changes: of the towers' blocks.
            constant: the shift's unprompted pass is a constant.
        """
        model = self.model
        itemsize = model.visual.conv1.weight.element_size()
        shares = self.device.type == "cpu" and itemsize >= 4
        text = 0 if layout is None else passes * kept.of_text(model, layout, shift, text_changes, constant)
        return itemsize * (
            text + kept.of_vision(model, images, vision_prompts, shift, vision_changes, shares, constant)
        )

    def passing_bytes(self, layout: Layout | None, images: int) -> int:
        """Estimate of what a pass without gradients takes: the tokens of one block, of the larger tower."""
        model = self.model
        itemsize = model.visual.conv1.weight.element_size()
        text = 0 if layout is None else max(layout.places, len(layout.ids)) * model.ln_final.weight.shape[0]
        vision = images * model.visual.positional_embedding.numel() if self.vision.vit else 0
        return max(text, vision) * WIDTHS_AT_ONCE * itemsize

    def encode_image(
        self,
        images: Tensor,
        prompts: Sequence[Tensor | None] = (),
        shift: bool = False,
        changes: Sequence[BlockChange | None] = (),
        constant: bool = False,
    ) -> Encoded:
        """Features (B, D) of images (B, 3, H, W), at least in single precision; see `VisionTower`.

        Instead of images there may be their features (B, D), made before, where nothing learned enters the tower.
        """
        if images.dim() == 2:
            if prompts or shift or any(changes):
                raise ValueError(
                    "Features that were made before serve a vision tower without prompts and changes only."
                )
            return Encoded(images)
        with self._autocast():
            return _at_least_single(self.vision(images, prompts, shift, changes, constant))

    def encode_text(
        self,
        layout: Layout,
        prompts: Sequence[Tensor | None] = (),
        shift: bool = False,
        changes: Sequence[BlockChange | None] = (),
        constant: bool = False,
    ) -> Encoded:
        """Features (K, D) of K class prompts, at least in single precision; see `TextTower`."""
        with self._autocast():
            return _at_least_single(self.text(layout, prompts, shift, changes, constant))

    @torch.no_grad()
    def encode_texts(self, texts: list[str], batch: int = 512) -> Tensor:
        """Features (N, D) of plain texts, without prompts and without gradient, at least in single precision."""
        length = self.model.context_length
        chunks = (ClassPrompts.from_texts(texts[i : i + batch], length) for i in range(0, len(texts), batch))
        return torch.cat([self.encode_text(self.layout(chunk)).features for chunk in chunks])


def _at_least_single(seen: Encoded) -> Encoded:
    """What a tower gives with features in which corrections and heads can compute."""
    return seen._replace(features=at_least_single(seen.features))


class Precision:
    """fp16: frozen CLIP in half precision (the field's default); amp: float16 autocast; bf16: bfloat16 autocast;
    fp32. What is learned is always float32.

    Args:
        name: one of the above. fp16 and amp need CUDA; elsewhere the run is fp32 and says so.
        device: where the run computes.

    Attributes:
        autocast: the type that forward passes are computed in by autocast, None without it.

    Raises:
        ValueError: unknown name; bf16 on a GPU without it.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name not in PRECISIONS:
            raise ValueError(f"PREC {name!r} is none of {', '.join(PRECISIONS)}.")
        if name in ("fp16", "amp") and device.type != "cuda":
            print(f"PREC {name} needs CUDA, and this run has none: computing in fp32.")
            name = "fp32"
        if name == "bf16" and device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
            raise ValueError(
                f"PREC bf16 needs a GPU that computes in it, Ampere or later; {torch.cuda.get_device_name(device)} "
                "does not: use fp16 or amp."
            )
        self.name = name
        self.autocast = {"amp": torch.float16, "bf16": torch.bfloat16}.get(name)

    def weights(self, model: CLIP) -> CLIP:
        """The frozen CLIP as this precision keeps it, changed in place.

        Half precision keeps the blocks' activation within their weights (`block.fold_slope`). fp16 keeps their norms in
        half precision too (`block.layer_norm`). Under autocast, which would cast weights anew at every use, the blocks'
        matrices are kept in its type; all else stays in float32, so that what the blocks add to does.
        """
        kind = torch.float16 if self.name == "fp16" else self.autocast
        if kind is None:
            return model
        found = [module for module in model.modules() if isinstance(module, ResidualAttentionBlock)]
        for block in found:
            fold_slope(block)  # before anything is rounded
        if self.name == "fp16":
            convert_weights(model)
        for name, parameter in (named for block in found for named in block.named_parameters()):
            if name.startswith("ln_") == (self.name == "fp16"):
                parameter.data = parameter.data.to(kind)
        return model
