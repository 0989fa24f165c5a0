"""Writes what a training learned as a folder that `promptclip.load` reads, beside its checkpoints (docs/predict.md)."""

from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from promptclip import folder
from promptclip.assembly import parts_of
from promptclip.card import card
from promptclip.folder import Description
from promptclip.loading import FOLDER
from runs.config import preprocessing
from runs.record import nested

METRICS = ("accuracy", "macro_f1")


def write_classifier(trainer: Any, cfg: CfgNode, directory: Path, record: dict[str, Any]) -> Path | None:
    """Write `directory`/classifier of a trained trainer.

    Args:
        trainer: with the model that the training ends with; one without a `PromptLearner` leaves no folder.
        cfg: the run's configuration.
        directory: the run's output directory.
        record: the run's, with the figures of its test if there was one.

    Returns:
        The folder; None, after a line that says why, where a part of what was learned has no form for files.

    Raises:
        OSError: it cannot be written.
    """
    if not hasattr(trainer, "learner"):
        return None
    if "instance_norm" in cfg.INPUT.TRANSFORMS:
        print("Note: no classifier folder is written, since it has no place for INPUT.TRANSFORMS instance_norm.")
        return None
    try:
        parts = parts_of(trainer.learner)
    except ValueError as error:
        print(f"Note: no classifier folder is written. {error}")
        return None
    method = trainer.method
    own = [part.new_classes for part in parts.values() if part.new_classes]
    description = Description(
        method=method.name,
        backbone=cfg.MODEL.BACKBONE.NAME,
        sha256=trainer.backbone_sha256,
        activation=trainer.backbone_activation,
        preprocessing=preprocessing(cfg),
        classes=tuple(trainer.classnames),
        trained_on=trainer.learner.trained_on,
        new_classes=method.new_classes or next(iter(own), ""),
        options=nested(trainer.options),
        inference=trainer.learner.head.inference(trainer.classes),
        training=training(record),
    )
    target = directory / FOLDER
    folder.write(target, description, parts, card(description))
    print(f"Classifier saved to {target}")
    return target


def training(record: dict[str, Any]) -> dict[str, Any]:
    """What a folder says of its training, out of a run's record."""
    said = {
        "dataset": record.get("source_dataset") or record.get("dataset"),
        "subsample_classes": record.get("subsample_classes"),
        "shots": record.get("shots"),
        "seed": record.get("seed"),
        "epochs": record.get("epoch"),
        "commit": record.get("git_commit"),
    }
    return said | {name: record[name] for name in METRICS if record.get(name) is not None}
