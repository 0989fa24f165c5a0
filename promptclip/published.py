"""Checkpoints as the field's repositories publish them, and as this project's runs keep them, as trained classifiers.

A checkpoint names its tensors and no more. What they are put together to is said by the method, and their sizes by
themselves; so this needs no trainer, and neither backbone nor class names from the file, which holds none.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from clip.model import CLIP
from torch import Tensor

from promptclip.backbone import load_backbone, weights_digest, weights_sha256
from promptclip.checkpoint_file import load_checkpoint
from promptclip.class_prompts import POSITIONS
from promptclip.classifier import Classifier
from promptclip.common.names import unknown
from promptclip.conditioned import ConditionedContext
from promptclip.folder import Description
from promptclip.geometry import activation_of
from promptclip.learner import CosineHead
from promptclip.model import PromptedCLIP
from promptclip.parts import Part
from promptclip.preprocessing import Preprocessing
from promptclip.prompts import blocks, is_vit
from promptclip.published_names import rename
from promptclip.published_parts import METHODS, OF_TRAINING, Settings, Tensors
from promptclip.surgery import ACTIVATIONS, FeatureSurgery
from promptclip.trained_prompts import TrainedPrompts
from promptclip.weights_file import check_extent


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
    backbone_activation: str = "",
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
        backbone_activation: "quickgelu" or "gelu", of a backbone in a file that does not say it.
        preprocessing: None: the backbone's own.
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
    checkpoint, (model, prepared, _) = load_checkpoint(str(path)), load_backbone(backbone, backbone_activation)
    parts = parts_of_checkpoint(path, checkpoint, method, settings)
    check_backbone(path, checkpoint, parts, backbone, model)
    description = Description(
        method=method,
        backbone=backbone,
        sha256=weights_sha256(model),
        preprocessing=preprocessing or prepared,
        activation=activation_of(model),
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
