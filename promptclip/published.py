"""Checkpoints as the field's repositories publish them, and as this project's runs keep them, as trained classifiers.

A checkpoint names its tensors and no more. What they are put together to is said by the method, and their sizes by
themselves; so this needs no trainer, and neither backbone nor class names from the file, which holds none.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from clip.model import CLIP
from torch import Tensor
from torch.nn import functional as F

from promptclip.backbone import check_extent, load_clip, weights_digest, weights_sha256
from promptclip.checkpoint_file import load_checkpoint
from promptclip.class_prompts import POSITIONS
from promptclip.classifier import Classifier
from promptclip.common.names import unknown
from promptclip.conditioned import ConditionedContext
from promptclip.folder import Description
from promptclip.learner import CosineHead
from promptclip.model import PromptedCLIP
from promptclip.parts import Part
from promptclip.preprocessing import Preprocessing
from promptclip.prompts import blocks, is_vit
from promptclip.published_names import rename
from promptclip.surgery import ACTIVATIONS, FeatureSurgery
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


# ---- from a directory to a classifier --------------------------------------------------------------------------------


def load_published(
    directory: Path,
    method: str,
    backbone: str,
    classes: Sequence[str],
    *,
    epoch: int | None = None,
    words: str | None = None,
    position: str = "end",
    activation: str | None = None,
    preprocessing: Preprocessing | None = None,
    device: torch.device | str = "cpu",
) -> Classifier:
    """A classifier of a checkpoint; `.save` makes a folder of it.

    Args:
        directory: of a training, as --model-dir takes it: what holds the folder MultiModalPromptLearner,
            VLPromptLearner or prompt_learner.
        method: a key of METHODS.
        backbone: name or file of the CLIP that it was trained on.
        classes: the class names, for class-specific contexts in the order of the training.
        epoch: of the checkpoint; None: the best on val where it is kept, or the only one.
        words: that the context started from, where others than the method's published ones.
        position: of the class name: "end", "middle" or "front" (CoOp).
        activation: of surgery: "relu" or "quickgelu" (RESTORE_m); None: that of the released code.
        preprocessing: None: CLIP's own.
        device: where it shall compute.

    Raises:
        FileNotFoundError: no such checkpoint; the sentence lists those there are.
        ValueError: unknown method, or the checkpoint is another method's or backbone's, or damaged.
    """
    if method not in METHODS:
        raise ValueError(unknown("method with published checkpoints", method, METHODS))
    if position not in POSITIONS:
        raise ValueError(f"The class token position {position!r} is none of {', '.join(POSITIONS)}.")
    known, path = METHODS[method], find(directory, epoch)
    settings = Settings(known.words if words is None else words, position, activation or known.activation)
    if settings.activation not in ACTIVATIONS:
        raise ValueError(f"The surgery's activation {activation!r} is none of {', '.join(ACTIVATIONS)}.")
    checkpoint, model = load_checkpoint(str(path)), load_clip(backbone)
    parts = parts_of_checkpoint(path, checkpoint, method, settings)
    check_backbone(path, checkpoint, parts, backbone, model)
    description = Description(
        method=method,
        backbone=backbone,
        sha256=weights_sha256(model),
        preprocessing=preprocessing or Preprocessing(model.visual.input_resolution),
        classes=tuple(classes),
        new_classes=parts["prompts"].new_classes,
        options=settings._asdict(),
        training={"epochs": checkpoint["epoch"]} if isinstance(checkpoint.get("epoch"), int) else {},
    )
    made = Classifier(description, parts, PromptedCLIP(model))
    return made.to(device).with_classes(classes)  # which looks at the names


def find(directory: Path, epoch: int | None) -> Path:
    """The checkpoint in `directory`/<model>/: of `epoch`, or else the best on val, or the only one.

    Raises:
        FileNotFoundError: it is not there, or there are several.
    """
    there = sorted(directory.glob("*/model*.pth.tar*"))
    name = "model-best.pth.tar" if epoch is None else f"model.pth.tar-{epoch}"
    found = [path for path in there if path.name == name] or (there if epoch is None and len(there) == 1 else [])
    if len(found) == 1:
        return found[0]
    listed = ", ".join(str(path.relative_to(directory)) for path in there) or "none at all"
    raise FileNotFoundError(
        f"There is no checkpoint {name} in a model's folder of {directory}, which holds {listed}: name another "
        "directory, or the epoch."
    )


def parts_of_checkpoint(path: Path, checkpoint: dict[str, Any], method: str, settings: Settings) -> dict[str, Part]:
    """The parts of a checkpoint's content; ValueError, naming `path`, if it is not this method's or damaged."""
    try:
        state = checkpoint.get("state_dict", checkpoint)
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise ValueError("it holds no weights by name (state_dict)")
        if odd := [key for key, value in state.items() if not isinstance(value, Tensor) or value.is_quantized]:
            raise ValueError(f"its {odd[0]!r:.80} is no plain tensor")
        check_extent(state, path)
        named = {rename(key.removeprefix("module.")): value for key, value in state.items()}
        unused = METHODS[method].unused
        ours = {name: value for name, value in named.items() if name and name.split(".")[0] not in unused}
        tensors = Tensors({name: one for name, one in ours.items() if not OF_TRAINING.fullmatch(name)})
        parts = METHODS[method].build(tensors, settings)
        if tensors.left:
            raise ValueError(f"it holds {', '.join(sorted(tensors.left)[:3])}, which {method} does not learn")
        for part in parts.values():
            part.trained()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"The checkpoint {path} is none of {method}'s that can be used: {error!s:.300}.") from error
    return parts | {"head": CosineHead()}


def check_backbone(path: Path, checkpoint: dict[str, Any], parts: dict[str, Part], name: str, model: CLIP) -> None:
    """Raise ValueError if the checkpoint says that it was trained on other weights, or its sizes do."""
    trained = checkpoint.get("backbone")
    if isinstance(trained, dict) and trained.get("digest") not in (None, weights_digest(model)):
        raise ValueError(f"The checkpoint {path} was trained on another backbone than {name}: {trained.get('name')}.")
    prompts = parts["prompts"]
    text_blocks, vision_blocks = blocks(model)
    widths = {"text": model.ln_final.weight.shape[0]}
    widths["vision"] = model.visual.class_embedding.shape[0] if is_vit(model) else 0
    if isinstance(prompts, ConditionedContext):
        right = (prompts.features, prompts.ctx.shape[1]) == (model.text_projection.shape[1], widths["text"])
    else:
        assert isinstance(prompts, TrainedPrompts)
        right = _fits(prompts.text(), text_blocks, widths["text"]) and _fits(
            prompts.vision(), vision_blocks, widths["vision"]
        )
    surgery = parts.get("corrections")
    if isinstance(surgery, FeatureSurgery):
        right &= surgery.settings()["width"] == model.text_projection.shape[1]
    if not right:
        raise ValueError(f"The checkpoint {path} does not fit the backbone {name}: widths, depths or lengths differ.")


def _fits(tokens: Sequence[Tensor | None], depth: int, width: int) -> bool:
    """Whether a tower of `depth` blocks takes these prompts: all of its width, and of one length."""
    shapes = [one.shape for one in tokens if one is not None]
    return len(tokens) <= depth and all(shape[-1] == width for shape in shapes) and len({s[-2] for s in shapes}) <= 1
