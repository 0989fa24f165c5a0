"""The folder of a training that was run before trainings left one, out of its checkpoint, config.yaml and metrics.json.

Which methods there were then is known (`promptclip.published.METHODS`), so this needs neither trainers nor data.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptclip.backbone import load_clip, weights_sha256
from promptclip.card import card
from promptclip.checkpoint_file import load_checkpoint
from promptclip.common.files import read_record_file
from promptclip.common.names import flatten
from promptclip.common.yaml_file import read_yaml
from promptclip.folder import Description, write
from promptclip.geometry import activation_of
from promptclip.loading import FOLDER
from promptclip.preprocessing import Preprocessing
from promptclip.published import check_backbone, find, parts_of_checkpoint
from promptclip.published_parts import METHODS, Settings

DEFAULTS = {"INTERPOLATION": "bicubic", "RESIZE": "shortest"}


def pack(
    run: Path, epoch: int | None = None, classes: Sequence[str] | None = None, backbone: str | None = None
) -> Path:
    """Write `run`/classifier.

    Args:
        run: a training's output directory.
        epoch: of the checkpoint; the one that the training ended with if None.
        classes: the class names, where metrics.json does not say them.
        backbone: name or file of the CLIP it was trained on, where that lies elsewhere than in the training.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: no run, or no such checkpoint.
        ValueError: the method has no tensors of its own, or none that this knows; files are damaged; the class names
            are not known.
    """
    config, record = _config(run), _record(run)
    method = config.get("TRAINER.NAME")
    if method not in METHODS:
        raise ValueError(
            f"{run} is a run of {method}, and only runs of {', '.join(METHODS)} can be packed; others leave their "
            "folder themselves when they train: repeat it in another directory."
        )
    names = list(classes or record.get("classnames") or ())
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{run / 'metrics.json'} does not name the classes: give them, as in --classes a,b,c.")
    if epoch is None and config.get("TEST.FINAL_MODEL") != "best_val":
        epoch = _last_epoch(run)
    path = find(run, epoch)
    checkpoint = load_checkpoint(str(path))
    parts = parts_of_checkpoint(path, checkpoint, method, _settings(config, method))
    name = backbone or str(config.get("MODEL.BACKBONE.NAME"))
    model = load_clip(name, str(config.get("MODEL.BACKBONE.ACTIVATION", "") or ""))
    check_backbone(path, checkpoint, parts, name, model)
    node = f"TRAINER.{method.upper()}."
    said = {
        "dataset": record.get("dataset") or config.get("DATASET.NAME"),
        "subsample_classes": config.get("DATASET.SUBSAMPLE_CLASSES"),
        "shots": config.get("DATASET.NUM_SHOTS"),
        "seed": config.get("SEED"),
        "epochs": checkpoint.get("epoch"),
        "commit": record.get("git_commit"),
    }
    figures = {key: record[key] for key in ("accuracy", "macro_f1") if record.get(key) is not None}
    last = epoch is None or epoch == config.get("OPTIM.MAX_EPOCH")  # the figures are of the training's end
    description = Description(
        method=method,
        backbone=name,
        sha256=weights_sha256(model),
        activation=activation_of(model),
        preprocessing=_preprocessing(config, model.visual.input_resolution),
        classes=tuple(names),
        new_classes=parts["prompts"].new_classes,
        options={key.removeprefix(node): value for key, value in config.items() if key.startswith(node)},
        training=said | (figures if last else {}),
    )
    write(run / FOLDER, description, parts, card(description))
    return run / FOLDER


def _config(run: Path) -> dict[str, Any]:
    path = run / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"{run} holds no config.yaml; name the output directory of a training of this project.")
    config = read_yaml(path)
    if not isinstance(config, dict):
        raise ValueError(f"{path} is damaged.")
    return flatten(config)


def _record(run: Path) -> dict[str, Any]:
    path = run / "metrics.json"
    record = read_record_file(path) if path.is_file() else {}
    if not isinstance(record, dict):
        raise ValueError(f"{path} is damaged.")
    if record.get("mode") == "eval":
        raise ValueError(f"{run} is an evaluation; name the output directory of the training.")
    return record


def _last_epoch(run: Path) -> int | None:
    found = [re.fullmatch(r"model\.pth\.tar-(\d+)", path.name) for path in run.glob("*/model.pth.tar-*")]
    return max((int(match[1]) for match in found if match), default=None)


def _settings(config: dict[str, Any], method: str) -> Settings:
    """What the method's options say of the tensors."""

    def option(name: str, otherwise: str) -> str:
        return str(config.get(f"TRAINER.{method.upper()}.{name}", otherwise))

    activation = "quickgelu" if option("VARIANT", "paper") == "released" else option("SURGERY_ACT", "relu")
    words = option("CTX_INIT", METHODS[method].words)
    return Settings(words.replace("_", " "), option("CLASS_TOKEN_POSITION", "end"), activation)


def _preprocessing(config: dict[str, Any], size: int) -> Preprocessing:
    """What the training's test did to an image."""
    mean, std = (tuple(map(float, config[f"INPUT.PIXEL_{name}"])) for name in ("MEAN", "STD"))
    interpolation, resize = (str(config.get(f"INPUT.{key}", otherwise)) for key, otherwise in DEFAULTS.items())
    return Preprocessing(size, interpolation, mean, std, resize)
