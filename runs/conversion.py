"""A checkpoint of a run, in the names that the method's reference implementation reads (`python -m runs.convert`).

The reference implementations load with strict=False: of a checkpoint with other names they take nothing, and score an
untrained model without a word. What is written here has their names, for all that they learn.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor

import trainers  # noqa: F401  (registers the methods)
from promptclip.common.files import write_atomically
from promptclip.published_names import reference_name
from runs.record import read_config
from trainers import checkpoints
from trainers.method import Method


@dataclass(frozen=True)
class Reference:
    """A trainer of the field's repositories, as far as its checkpoints go.

    Attributes:
        trainer: its registered name.
        node: its section of the configuration.
        options: names of the options there that decide what it makes of a checkpoint.
        folder: of its checkpoints.
        whole: it saves its whole model, else its prompt learner alone.
    """

    trainer: str
    node: str
    options: tuple[str, ...]
    folder: str
    whole: bool = True


_COUPLED = ("N_CTX", "CTX_INIT", "PROMPT_DEPTH")
_VISION = ("N_CTX_VISION", "PROMPT_DEPTH_VISION")
_BOTH = ("N_CTX_TEXT", "PROMPT_DEPTH_TEXT", *_VISION, "CTX_INIT")
REFERENCES = {
    "coop": Reference("CoOp", "COOP", ("N_CTX", "CTX_INIT", "CSC", "CLASS_TOKEN_POSITION"), "prompt_learner", False),
    "cocoop": Reference("CoCoOp", "COCOOP", ("N_CTX", "CTX_INIT"), "prompt_learner", False),
    "kgcoop": Reference("KgCoOp", "COOP", ("N_CTX", "CTX_INIT"), "prompt_learner", False),
    "maple": Reference("MaPLe", "MAPLE", _COUPLED, "MultiModalPromptLearner"),
    "restore_m": Reference("MaPLe_FSA", "MAPLE_FSA", _COUPLED, "MultiModalPromptLearner"),
    "ivlp": Reference("IVLP", "IVLP", _BOTH, "VLPromptLearner"),
    "promptsrc": Reference("PromptSRC", "PROMPTSRC", _BOTH, "VLPromptLearner"),
    "vpt": Reference("VPT", "VPT", _VISION, "prompt_learner"),
}
# Which of them make the same of what a method learned, the method's own first.
COUNTERPARTS = {
    "CoOp": ("coop",),
    "ProGrad": ("coop",),
    "KgCoOp": ("kgcoop", "coop"),
    "CoCoOp": ("cocoop",),
    "MaPLe": ("maple",),
    "IVLP": ("ivlp",),
    "LPT": ("ivlp",),
    "VPT": ("vpt",),
    "PromptSRC": ("promptsrc", "ivlp"),
    "RESTORE_m": ("restore_m",),
    "RESTORE_p": (),
    # the references of these have names of their own that nothing here writes
    **dict.fromkeys(("TCP", "MMA", "MMRL", "CLIP_LoRA", "TwoStage", "CoPrompt", "DePT_CoOp", "DePT_MaPLe"), ()),
    **dict.fromkeys(("DePT_RESTORE_m", "CLIP_Adapter", "TaskRes", "TipAdapter", "TipAdapter_F", "LPpp"), ()),
}
TEMPLATE = "a photo of a"
"""The words that some references have in their code, whatever their configuration says."""


def counterparts(method: Method, options: dict[str, Any], learned: dict[str, Tensor]) -> tuple[str, ...]:
    """Names of the references that make the same of a trained model as this project does.

    Args:
        method: which trained it.
        options: of the method, in the training.
        learned: its tensors, under our names.

    Raises:
        ValueError: there is none; the sentence says why.
    """
    names, words = checkpoints.first_names(learned), options.get("CTX_INIT", "").replace("_", " ")
    found = COUNTERPARTS.get(method.name)
    if found is None:
        raise ValueError(f"{method.name} has no reference implementation here; {', '.join(COUNTERPARTS)} have.")
    if method.name.startswith("RESTORE_") and "image_surgery" not in names:  # trained with SURGERY none
        return COUNTERPARTS["MaPLe" if method.name == "RESTORE_m" else "PromptSRC"]
    if method.name == "RESTORE_p":
        raise ValueError("RESTORE_p has no reference implementation: its code was not released.")
    if method.name == "RESTORE_m" and options["VARIANT"] == "paper" and options["SURGERY_ACT"] != "quickgelu":
        raise ValueError(
            f"This RESTORE_m was trained with SURGERY_ACT {options['SURGERY_ACT']}, and the released code has "
            "QuickGELU: it would compute something else. Train with VARIANT released, or with SURGERY_ACT quickgelu."
        )
    if "ctx" not in names:  # VPT; and IVLP without text prompts, which its own reference always has
        if words != TEMPLATE:
            raise ValueError(
                f"This {method.name} was trained with CTX_INIT {words!r} before the class names, and the reference "
                f"implementation has {TEMPLATE!r} in its code: it would compute something else."
            )
        return COUNTERPARTS["VPT"]
    if method.name == "KgCoOp" and words not in ("", TEMPLATE):  # its reference takes any words for these
        return found[1:]
    return found


def convert(run: Path, to: str | None, epoch: int | None, output: Path | None) -> tuple[Path, str]:
    """Write a checkpoint of `run` as a reference implementation reads it.

    Args:
        run: a run's output directory.
        to: a key of REFERENCES; the method's own if None.
        epoch: of the checkpoint; the last one if None.
        output: in whose folder it is written; `run`-<reference> if None.

    Returns:
        The file, and the arguments with which the reference's train.py evaluates it.

    Raises:
        FileNotFoundError: no such run or checkpoint.
        ValueError: the method or its options have no counterpart, or the checkpoint holds no usable weights.
        FileExistsError: the file is there already.
    """
    method, options = trained_by(run)
    epoch = last_epoch(run / method.folder) if epoch is None else epoch
    path = checkpoints.find(run, method.folder, epoch)
    checkpoint = checkpoints.load_checkpoint(str(path))
    learned = learned_of(checkpoint.get("state_dict"), method, path)
    known = counterparts(method, options, learned)
    name = to or known[0]
    if name not in known:
        raise ValueError(
            f"{REFERENCES[name].trainer} does not compute what this {method.name} does; what does: --to "
            f"{' or --to '.join(known)}."
        )
    reference = REFERENCES[name]
    output = output or run.resolve().with_name(f"{run.resolve().name}-{name}")
    epoch = checkpoint.get("epoch", 0)
    target = output / reference.folder / f"model.pth.tar-{epoch}"
    if target.exists():
        raise FileExistsError(f"{target} is there already; move it away, or choose another --output-dir.")
    state = {reference_name(key, "prompt_learner." * reference.whole): learned[key] for key in learned}
    content = {"state_dict": state, "epoch": epoch, "val_result": checkpoint.get("val_result")}
    write_atomically(target, lambda file: torch.save(content, file))
    arguments = ["--trainer", reference.trainer, "--eval-only", "--model-dir", output, "--load-epoch", epoch]
    for key in reference.options:
        if key in options or key in _VISION:  # LPT has no prompts there
            arguments += [f"TRAINER.{reference.node}.{key}", options.get(key, 0)]
    return target, shlex.join(map(str, arguments))


def trained_by(run: Path) -> tuple[Method, dict[str, Any]]:
    """The method that trained `run`, and its options there. Raises FileNotFoundError or ValueError."""
    config = read_config(run)
    if config is None:
        raise FileNotFoundError(f"{run} holds no config.yaml; name the output directory of a training of this project.")
    trainer = config.get("TRAINER")
    name = trainer.get("NAME") if isinstance(trainer, dict) else None
    if name not in TRAINER_REGISTRY.registered_names():
        raise ValueError(f"{run / 'config.yaml'} names the trainer {name!r}, which is none of this project.")
    method = getattr(TRAINER_REGISTRY.get(name), "method", None)
    if method is None or not method.learns:
        raise ValueError(f"{name} learns nothing that could be converted.")
    options = trainer.get(method.node)
    return method, dict(method.defaults()) | (options if isinstance(options, dict) else {})


def last_epoch(folder: Path) -> int | None:
    """The highest epoch of which `folder` holds a checkpoint; None, for the best on val, where it holds none."""
    found = [re.fullmatch(r"model\.pth\.tar-(\d+)", file.name) for file in folder.glob("model.pth.tar-*")]
    return max((int(match[1]) for match in found if match), default=None)


def learned_of(state: Any, method: Method, path: Path) -> dict[str, Tensor]:
    """What the method learned out of a checkpoint's state, without what only its training needs.

    Raises:
        ValueError: there is nothing of the kind, or it is not finite.
    """
    wanted = (*method.learns, "text_alpha.value", "image_alpha.value")
    named = state.items() if isinstance(state, dict) else ()
    learned = {key: value for key, value in named if key in wanted or key.split(".")[0] in wanted}
    if not learned:
        raise ValueError(f"{path} holds nothing that {method.name} learns.")
    broken = [key for key, value in learned.items() if not isinstance(value, Tensor) or not value.isfinite().all()]
    if broken:
        raise ValueError(f"{path} is broken: {broken[0]} is infinite, NaN or no tensor.")
    return learned
