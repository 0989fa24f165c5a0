"""The parts of a method, put together of the tensors in its checkpoints."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from promptclip.conditioned import ConditionedContext
from promptclip.parts import Part
from promptclip.surgery import FeatureSurgery
from promptclip.trained_prompts import TrainedPrompts

IN_WORDS = 4
"""Tokens of a deep-prompt method's context up to which its words stand in the prompt."""


class Tensors:
    """A checkpoint's tensors by our names; what was taken out is gone, so that in the end none may be left."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.left = dict(tensors)

    def take(self, name: str, dims: tuple[int, ...]) -> Tensor:
        """One tensor, in float32; ValueError if it is not there, or has another number of dimensions."""
        if name not in self.left:
            raise ValueError(f"it lacks {name}")
        tensor = self.left.pop(name)
        if tensor.dim() not in dims or not tensor.is_floating_point() or not tensor.numel():
            raise ValueError(f"its {name} is {tensor.dtype} {tuple(tensor.shape)}")
        if not tensor.isfinite().all():
            raise ValueError(f"it holds infinite or NaN values in {name}: its training broke")
        return tensor.float()

    def take_list(self, name: str, dims: tuple[int, ...]) -> list[Tensor]:
        """name.0, name.1, ... as far as they go."""
        found: list[Tensor] = []
        while f"{name}.{len(found)}" in self.left:
            found.append(self.take(f"{name}.{len(found)}", dims))
        return found


class Settings(NamedTuple):
    """What a checkpoint does not say.

    Attributes:
        words: that the context started from, as far as it matters.
        position: of the class name in the prompt.
        activation: of surgery.
    """

    words: str
    position: str = "end"
    activation: str = "relu"


# ---- from tensors to parts -------------------------------------------------------------------------------------------


def _prompts(text: Sequence[Tensor], vision: Sequence[Tensor], **others: str) -> TrainedPrompts:
    """Trained prompts of these tokens."""
    shapes = ([list(one.shape) for one in tower] for tower in (text, vision))
    made = TrainedPrompts(*shapes, **others)  # type: ignore[arg-type]
    made.text_tokens.fill(text)
    made.vision_tokens.fill(vision)
    return made


def _context(tensors: Tensors, settings: Settings) -> dict[str, Part]:
    """CoOp's context, one for all classes or one per class."""
    ctx = tensors.take("ctx", (2, 3))
    return {"prompts": _prompts([ctx], [], words=settings.words, position=settings.position)}


def _conditioned(tensors: Tensors, settings: Settings) -> dict[str, Part]:
    """CoCoOp's context and meta-net."""
    ctx, first = tensors.take("ctx", (2,)), tensors.take("meta_net.linear1.weight", (2,))
    state = {"ctx": ctx, "meta_net.linear1.weight": first}
    state |= {f"meta_net.{name}": tensors.take(f"meta_net.{name}", (1,)) for name in ("linear1.bias", "linear2.bias")}
    state["meta_net.linear2.weight"] = tensors.take("meta_net.linear2.weight", (2,))
    n_ctx, width = ctx.shape
    prompts = ConditionedContext(n_ctx, width, first.shape[1], settings.words, settings.position)
    prompts.load_state_dict(state)
    return {"prompts": prompts}


def _coupled(tensors: Tensors, settings: Settings) -> dict[str, Part]:
    """MaPLe's text prompts, and the vision prompts that its couplings make of them."""
    text = [tensors.take("ctx", (2,)), *tensors.take_list("compound_prompts_text", (2,))]
    names = ["proj", *(f"compound_prompt_projections.{block}" for block in range(len(text) - 1))]
    couplings = [(tensors.take(f"{name}.weight", (2,)), tensors.take(f"{name}.bias", (1,))) for name in names]
    vision = [F.linear(one, *coupling) for one, coupling in zip(text, couplings, strict=True)]
    return {"prompts": _prompts(text, vision, words=_kept_words(text, settings))}


def _independent(tensors: Tensors, settings: Settings) -> dict[str, Part]:
    """Prompts of either tower, or of one."""
    towers = []
    for first, others in (("ctx", "text_deep"), ("vision_ctx", "vision_deep")):
        there = first in tensors.left
        towers.append([tensors.take(first, (2,)), *tensors.take_list(others, (2,))] if there else [])
    text, vision = towers
    if text:
        return {"prompts": _prompts(text, vision, words=_kept_words(text, settings))}
    return {"prompts": _prompts([], vision, template=f"{settings.words.replace('_', ' ')} {{}}.".strip())}


def _kept_words(text: Sequence[Tensor], settings: Settings) -> str:
    return settings.words if len(text[0]) <= IN_WORDS else ""


def _with_surgery(prompts: Callable[[Tensors, Settings], dict[str, Part]]) -> Callable[..., dict[str, Part]]:
    """These prompts and RESTORE's surgery, where it was trained with any."""

    def build(tensors: Tensors, settings: Settings) -> dict[str, Part]:
        parts = prompts(tensors, settings)
        if "image_surgery.ln.weight" not in tensors.left:
            return parts
        width = len(tensors.left["image_surgery.ln.weight"])
        surgery = FeatureSurgery(width, (0, 0), (0, 0), 0, False, settings.activation)  # type: ignore[arg-type]
        wanted = {name: value for name, value in surgery.state_dict().items() if not name.endswith(("gain", "steps"))}
        state = {name: tensors.take(name, (value.dim(),)) for name, value in wanted.items()}
        surgery.load_state_dict(surgery.state_dict() | state)
        return parts | {"corrections": surgery}

    return build


class Published(NamedTuple):
    """How checkpoints of a method are read.

    Attributes:
        build: its parts, of its tensors.
        words: that its context starts from unless somebody says otherwise.
        unused: first names of entries that its files may hold without their being used.
        activation: of surgery in the files that the field has.
    """

    build: Callable[[Tensors, Settings], dict[str, Part]]
    words: str = "a photo of a"
    unused: tuple[str, ...] = ()
    activation: str = "relu"


OF_TRAINING = re.compile(r"\w+_alpha\.(gain|steps)")
"""Names in our own checkpoints of what belongs to a part but serves its training alone."""
_TRAINING = ("average", "shift_scale", "gram_shift")  # what our own checkpoints carry for training
METHODS = {
    "CoOp": Published(_context, ""),
    "CoCoOp": Published(_conditioned),
    "KgCoOp": Published(_context, unused=("bias_vectors", "meta_net")),
    "ProGrad": Published(_context, ""),
    "LPT": Published(_independent),
    "VPT": Published(_independent),
    "IVLP": Published(_independent, unused=("shift_scale",)),
    "MaPLe": Published(_coupled),
    "PromptSRC": Published(_independent, unused=_TRAINING),
    "RESTORE_m": Published(_with_surgery(_coupled), unused=_TRAINING, activation="quickgelu"),
    "RESTORE_p": Published(_with_surgery(_independent), unused=_TRAINING),
}
"""The methods whose checkpoints the field has published, and all that this project had before runs wrote folders."""
