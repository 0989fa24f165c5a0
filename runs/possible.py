"""Whether a checkpoint can be evaluated on these classes, and the record of an evaluation that a method cannot make."""

import math
from pathlib import Path
from typing import Any

from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from runs.config import data_label
from runs.record import read_record, training_data
from trainers.method import Method


def base_classes(classnames: list[str], checkpoint: dict[str, Any] | None) -> int:
    """How many of the classes, the first ones, are base classes: half of them, rounded up, as the field splits them.

    Raises:
        ValueError: the record beside the checkpoint says that it was trained on others.
    """
    half = math.ceil(len(classnames) / 2)
    record = read_record(Path(checkpoint["directory"])) if checkpoint else None
    trained = (record or {}).get("classnames")
    if isinstance(trained, list) and trained != classnames[:half]:
        raise ValueError(
            f"{checkpoint['directory']} was trained on other base classes ({len(trained)}, {trained[:1]} first) than "
            f"the data set has now ({half}, {classnames[:1]} first); restore the data set, or train again."
        )
    return half


def impossible(cfg: CfgNode, mode: str, training: dict[str, Any]) -> str:
    """Why the method cannot be evaluated on these classes, in its own words (`Method.new_classes`); "" if it can.

    Args:
        cfg: the run's configuration.
        mode: "train" or "eval".
        training: the flattened configuration of the training behind the checkpoint, {} where none is known.
    """
    method = getattr(TRAINER_REGISTRY.get(cfg.TRAINER.NAME), "method", None)
    reason, subset = method.new_classes if isinstance(method, Method) else "", cfg.DATASET.SUBSAMPLE_CLASSES
    if not reason or mode != "eval":
        return ""
    if not training:
        return reason if subset == "new" else ""
    same = training_data(training) == data_label(cfg) and training.get("DATASET.SUBSAMPLE_CLASSES") == subset
    return "" if same else reason


def unsupported(reason: str | Exception) -> dict[str, Any]:
    """What completes the record of an evaluation that a method cannot make: no accuracy, and the reason in a sentence.

    Tables show it as "–" with the reason as a footnote; a sweep counts it as done.
    """
    return {"accuracy": None, "unsupported": " ".join(str(reason).split()) or "the method says no more of it"}
