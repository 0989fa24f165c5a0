"""Which checkpoint files an evaluation reads (`--model-dir`, `--load-epoch`), and their fingerprint."""

import hashlib
from pathlib import Path
from typing import Any

from promptclip.common.yaml_file import read_yaml


def identify(model_dir: Path, epoch: int | None) -> dict[str, Any]:
    """`{"directory", "epoch", "sha256": {registered model name: digest}}` of the checkpoint in `model_dir`.

    Without `epoch` it is the best one on the validation set, model-best.pth.tar, as everywhere in the CoOp family.
    Raises FileNotFoundError, naming what is there, if no model in `model_dir` has that checkpoint.
    """
    name = "model-best.pth.tar" if epoch is None else f"model.pth.tar-{epoch}"
    files = sorted(model_dir.glob(f"*/{name}"))
    if not files:
        raise FileNotFoundError(missing(model_dir, name))
    return {
        "directory": str(model_dir),
        "epoch": epoch,
        "sha256": {file.parent.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
    }


def missing(model_dir: Path, name: str) -> str:
    """One sentence on a checkpoint that is not there: the directory and what is in it."""
    sentence = f"There is no checkpoint {name} in a model directory of {model_dir} (--model-dir, --load-epoch)"
    if not model_dir.is_dir():
        return f"{sentence}: the directory does not exist; train first, or name the output directory of the training."
    there = sorted(str(file.relative_to(model_dir)) for file in model_dir.glob("*/model*.pth.tar*"))
    if there:
        return f"{sentence}; it holds {', '.join(there)}: choose one of them with --load-epoch."
    listed = ", ".join(sorted(path.name for path in model_dir.iterdir())) or "nothing"
    return f"{sentence}; it holds {listed}: train first, or name the output directory of the training."


def trained_on(model_dir: Path) -> str | None:
    """The data set that the checkpoint in `model_dir` was trained on, by the config.yaml beside it.

    None where nothing readable says so, as beside a published checkpoint.
    """
    try:
        name = read_yaml(model_dir / "config.yaml")["DATASET"]["NAME"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None
