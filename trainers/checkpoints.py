"""Checkpoints: take what is learned out of our own files and out of those the field's repositories released."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from dassl.utils import load_checkpoint
from torch import Tensor

from promptclip.backbone import backbone_names
from promptclip.common.names import flatten
from promptclip.common.yaml_file import read_yaml
from promptclip.learner import PromptLearner
from promptclip.published_names import rename
from trainers.method import Method, Options


def trained_on(path: Path) -> tuple[str, ...]:
    """The class names that the checkpoint at `path` says it was trained on; () where it says none.

    Raises:
        ValueError: they are no list of texts.
    """
    said = load_checkpoint(str(path)).get("trained_on", [])
    if not isinstance(said, list) or not all(isinstance(name, str) for name in said):
        raise ValueError(f"The checkpoint {path} says that it was trained on {said!r:.80}, which are no class names.")
    return tuple(said)


def newest(folder: Path) -> Path | None:
    """The checkpoint that the file beside them names; None where there is none to read."""
    pointer = folder / "checkpoint"
    name = pointer.read_text(encoding="utf-8", errors="replace").strip() if pointer.is_file() else ""
    path = folder / Path(name).name
    return path if name and path.is_file() else None


def resize(path: Path, learner: PromptLearner) -> None:
    """Have the learner's head take on the shapes that the checkpoint at `path` has."""
    state = load_checkpoint(str(path)).get("state_dict")
    named = state.items() if isinstance(state, dict) else ()
    learner.head.resize({str(name): tuple(value.shape) for name, value in named if isinstance(value, Tensor)})


def find(directory: Path, folder: str, epoch: int | None) -> Path:
    """`directory`/`folder`/model.pth.tar-<epoch>, or model-best.pth.tar where `epoch` is None.

    Raises:
        FileNotFoundError: it is not there; the sentence lists the checkpoints that are.
    """
    path = directory / folder / ("model-best.pth.tar" if epoch is None else f"model.pth.tar-{epoch}")
    if not path.is_file():
        there = sorted(str(file.relative_to(directory)) for file in directory.glob("*/model*.pth.tar*"))
        raise FileNotFoundError(
            f"There is no checkpoint {path}; {directory} holds {', '.join(there) or 'none at all'}. "
            f"Train first, or name another directory or --load-epoch."
        )
    return path


def read(
    path: Path, method: Method, options: Options, learner: PromptLearner, backbone: dict[str, str]
) -> tuple[dict[str, Tensor], Any]:
    """What `learner` loads from the checkpoint at `path`, and its epoch.

    Args:
        path: the checkpoint's file.
        method, options: the run's.
        learner: the module to load into.
        backbone: `name` and `digest` of the run's backbone.

    Raises:
        ValueError: the checkpoint was trained on another backbone or with an option of another value, does not fit, or
            is not finite.
    """
    checkpoint = load_checkpoint(str(path))
    state = checkpoint.get("state_dict", checkpoint)
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise ValueError(f"The checkpoint {path} holds no weights by name (state_dict); save or download it again.")
    odd = [key for key, value in state.items() if not _is_plain(value)]
    if odd:
        raise ValueError(f"The checkpoint {path} holds {odd[0]}, which is no plain tensor; save or download it again.")
    _refuse_other_options(path, checkpoint, state, method, options)
    _refuse_other_backbone(path, checkpoint, backbone)
    part = learned_part(state, learner, method.unused)
    learner.head.resize({name: tuple(value.shape) for name, value in part.items()})
    reason = mismatch(part, learner)
    if reason:
        owner = _owner(state)
        whose = f" and looks like {owner}'s" if owner and owner != method.name else ""
        raise ValueError(
            f"The checkpoint {path} does not fit {method.name} on {backbone['name']}: {reason}{whose}. "
            "Use the trainer, backbone and context length it was trained with."
        )
    broken = [key for key, value in part.items() if not value.isfinite().all()]
    if broken:
        raise ValueError(
            f"The checkpoint {path} holds infinite or NaN values in {_few(broken)}: its training broke. Load an "
            "earlier epoch, or train again."
        )
    return part, checkpoint.get("epoch", "unknown")


def _is_plain(value: Any) -> bool:
    """Whether a value is a tensor that holds all its numbers: not sparse, not quantised, not without content."""
    return isinstance(value, Tensor) and value.layout is torch.strided and not (value.is_quantized or value.is_meta)


def _refuse_other_options(
    path: Path, checkpoint: dict[str, Any], state: dict[str, Tensor], method: Method, options: Options
) -> None:
    """Raise ValueError if the checkpoint says it was trained with another value of a decisive option."""
    for name, trained in trained_options(path, checkpoint, state, method).items():
        if options[name] != trained:
            raise ValueError(
                f"The checkpoint {path} was trained with TRAINER.{method.node}.{name} {trained!r}, and this run has "
                f"{options[name]!r}, with which it would compute something else: add "
                f"TRAINER.{method.node}.{name} {trained!r} to the command."
            )


def _refuse_other_backbone(path: Path, checkpoint: dict[str, Any], backbone: dict[str, str]) -> None:
    """Raise ValueError if the checkpoint, or config.yaml beside it, says it was trained on another backbone.

    ViT-B/16 and ViT-B/32 have prompts of the same shapes, which would be loaded and mean nothing.
    """
    trained = checkpoint.get("backbone")
    if not isinstance(trained, dict):  # of an earlier version: names tell, paths do not
        trained = {"name": _config_beside(path).get("MODEL.BACKBONE.NAME")}
        if not {trained["name"], backbone["name"]} <= set(backbone_names()):
            return
    key = "digest" if "digest" in trained else "name"
    if trained.get(key) != backbone[key]:
        theirs, ours = (
            " ".join(str(one[part]) for part in dict.fromkeys(("name", key)) if part in one)
            for one in (trained, backbone)
        )
        raise ValueError(
            f"The checkpoint {path} was trained on the backbone {theirs}, and this run has {ours}, which is another "
            "one: set MODEL.BACKBONE.NAME to what it was trained on."
        )


def trained_options(path: Path, checkpoint: dict[str, Any], state: dict[str, Tensor], method: Method) -> dict[str, Any]:
    """The decisive options a checkpoint was trained with, as far as it, its names, or config.yaml beside it say."""
    if checkpoint.get("method") == method.name and isinstance(checkpoint.get("options"), dict):
        said = checkpoint["options"]
    else:
        said = _configured(path, method) | method.recognise(state)
    decisive = {name for name, option in method.options.items() if option.decides_test}
    return {name: value for name, value in said.items() if name in decisive}


def _configured(path: Path, method: Method) -> dict[str, Any]:
    """The method's options in the config.yaml beside a checkpoint; none where that is not of this method."""
    config, node = _config_beside(path), f"TRAINER.{method.node}."
    if config.get("TRAINER.NAME") != method.name:
        return {}
    return {key.removeprefix(node): value for key, value in config.items() if key.startswith(node)}


def _config_beside(path: Path) -> dict[str, Any]:
    """The flattened config.yaml of the run that a checkpoint lies in; {} where there is no readable one."""
    try:
        config = read_yaml(path.parent.parent / "config.yaml")
    except (OSError, ValueError):
        return {}
    return flatten(config) if isinstance(config, dict) else {}


def learned_part(state: dict[str, Tensor], learner: PromptLearner, unused: Iterable[str] = ()) -> dict[str, Tensor]:
    """Entries of a checkpoint's `state` that `learner` loads, under our names.

    Args:
        state: a checkpoint's state dict, ours or published.
        learner: the module to load into; what only its training needs may be missing in the file.
        unused: first names of entries that such files may hold without their being used.
    """
    named = [(rename(key.removeprefix("module.")), value) for key, value in state.items()]
    ours = {name: value for name, value in named if name is not None}
    kept = learner.state_dict()
    part = {key: value for key, value in ours.items() if key in kept or key.split(".")[0] not in set(unused)}
    for key in learner.names_of_training() - part.keys():
        part[key] = kept[key]
    return part


def first_names(keys: Iterable[str]) -> set[str]:
    """First names of parameters, which tell the methods apart."""
    return {key.split(".")[0] for key in keys}


def mismatch(part: dict[str, Tensor], learner: torch.nn.Module) -> str:
    """One sentence about why `part` is not `learner`'s; "" if it is."""
    wanted = learner.state_dict()
    odd, missing = sorted(part.keys() - wanted.keys()), sorted(wanted.keys() - part.keys())
    if odd or missing:
        said = [f"{verb} {_few(keys)}" for verb, keys in (("it lacks", missing), ("it holds", odd)) if keys]
        return " and ".join(said)
    shapes = [key for key in wanted if part[key].shape != wanted[key].shape]
    if shapes:
        key = shapes[0]
        return f"its {key} is {tuple(part[key].shape)} where this run has {tuple(wanted[key].shape)}"
    kinds = [key for key in wanted if part[key].is_floating_point() != wanted[key].is_floating_point()]
    if kinds:
        return f"its {kinds[0]} holds {part[kinds[0]].dtype}, which would be rounded to {wanted[kinds[0]].dtype}"
    return ""


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


CARRIED = ("shift_scale", "gram_shift", "average", "text_alpha", "image_alpha")
"""First names of what is carried along in training; a method is told by the rest of its names."""


def _owner(state: dict[str, Tensor]) -> str | None:
    """Name of a registered method that learns parameters of the names in a checkpoint's `state`."""
    found = first_names(ours for key in state if (ours := rename(key))) - set(CARRIED)
    for name in TRAINER_REGISTRY.registered_names():
        method = getattr(TRAINER_REGISTRY.get(name), "method", None)
        if method and method.learns and set(method.learns) == found:
            return name
    return None
