"""The record of a run: `config.yaml`, what was asked for, and `metrics.json`, what came of it (docs/records.md)."""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from promptclip.common.files import read_record_file, write_atomically
from promptclip.common.names import flatten
from promptclip.common.yaml_file import read_yaml
from runs.config import data_label, default_config, trainer_defaults

SCHEMA = 3

# Keys that change where and how fast a run is done, not its result.
WITHOUT_EFFECT = frozenset(
    {
        "DATALOADER.CACHE_MB",
        "DATALOADER.NUM_WORKERS",
        "DATALOADER.TEST.NUM_WORKERS",
        "DATASET.ROOT",
        "MODEL.CHECKPOINTING",
        "MODEL.CUDA_GRAPH",
        "OUTPUT_DIR",
        "RESUME",
        "TEST.COMPUTE_CMAT",
        "TEST.PER_CLASS_RESULT",
        "TEST.SAVE_FEATURES",
        "TEST.SHIFT_IMAGES",
        "TRAIN.CHECKPOINT_FREQ",
        "TRAIN.DETERMINISTIC",
        "TRAIN.PRINT_FREQ",
        "TRAIN.TRACK_SHIFT",
        "USE_CUDA",
        "VERBOSE",
        "VERSION",
    }
)
# Keys in which the runs of one experiment (one row of a table) differ: which data, which classes, which seed.
WITHIN_EXPERIMENT = frozenset(
    {
        "DATASET.LABEL",
        "DATASET.LIST",
        "DATASET.NAME",
        "DATASET.ROOT",
        "DATASET.SUBSAMPLE_CLASSES",
        "SEED",
    }
)
# Beginnings of the keys that matter to a training alone, besides the method's own options that do.
FOR_TRAINING = (
    *("OPTIM.", "TRAIN.", "DATALOADER.TRAIN_", "DATALOADER.K_TRANSFORMS", "DATALOADER.RETURN_IMG0"),
    *("DATASET.NUM_SHOTS", "DATASET.NUM_LABELED", "DATASET.ALL_AS_UNLABELED", "MODEL.INIT_WEIGHTS"),
    *("INPUT.CROP_PADDING", "INPUT.RRCROP_SCALE", "INPUT.CUTOUT_", "INPUT.GN_", "INPUT.RANDAUGMENT_"),
    *("INPUT.COLORJITTER_", "INPUT.RGS_P", "INPUT.GB_", "TEST.FINAL_MODEL", "TEST.NO_TEST"),
)
# What only dassl-core has and may change a result; at these values a directory begun on it is good on upstream's Dassl.
UNKNOWN_UPSTREAM = {"TEST.SKIP_BROKEN": False}

# ---- which settings count ----


def deciding(flat: dict[str, Any], trainer: str) -> dict[str, Any]:
    """The keys of a flattened configuration that can change the result of a run by `trainer`.

    Other methods' sections are left out, so that a method added later leaves earlier runs valid.
    """
    own = trainer_defaults(trainer)
    root_counts = root_is_data(flat.get("DATASET.NAME", ""))
    return {
        key: value
        for key, value in flat.items()
        if (key not in WITHOUT_EFFECT or (key == "DATASET.ROOT" and root_counts))
        and (key == "TRAINER.NAME" or not key.startswith("TRAINER.") or key in own)
    }


def root_is_data(name: str) -> bool:
    """Whether data set `name` is whatever lies at DATASET.ROOT, so that another root is another data set."""
    known = name in DATASET_REGISTRY.registered_names()
    return known and getattr(DATASET_REGISTRY.get(name), "root_is_data", False)


def for_training(key: str, trainer: str) -> bool:
    """Whether a key changes how `trainer` trains, but not what an evaluation makes of a given checkpoint."""
    if key.startswith(FOR_TRAINING):
        return True
    method = getattr(TRAINER_REGISTRY.get(trainer), "method", None)
    section, _, name = key.rpartition(".")
    if method is None or section != f"TRAINER.{method.node}" or name == "PREC":
        return False
    return name in method.options and not method.options[name].decides_test


def experiment_id(cfg: CfgNode, training: dict[str, Any] | None = None) -> str:
    """Eight hex digits shared by the runs that differ only in seed, data set and class subset.

    Only what departs from the defaults counts, so that an option added later changes no earlier run's digits.

    Args:
        cfg: the run's configuration.
        training: of an evaluation, the flattened configuration of the training whose checkpoint it reads, {} or None
            where none is known: in what concerns only the training, the evaluation has that one's settings.
    """
    trainer, defaults = cfg.TRAINER.NAME, _plain(flatten(default_config()))
    settings = deciding(_plain(flatten(cfg)), trainer)
    if training and training.get("TRAINER.NAME") == trainer:
        trained = defaults | _plain(training)
        settings |= {key: trained[key] for key in settings.keys() & trained.keys() if for_training(key, trainer)}
    kept = {
        key: value for key, value in settings.items() if key not in WITHIN_EXPERIMENT and value != defaults.get(key)
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]


def differences(cfg: CfgNode, stored: dict[str, Any], counts: Callable[[str], bool] = lambda key: True) -> list[str]:
    """`KEY: stored -> asked for`, for every key that can change the result.

    A key that config.yaml lacks is an option added since; that run did what the option's default does. A key that only
    the other Dassl has is none, where it is at its default there.

    Args:
        cfg: what is asked for.
        stored: as read from config.yaml.
        counts: which keys are compared.
    """
    trainer, known, there = cfg.TRAINER.NAME, flatten(cfg), flatten(stored)
    foreign = {key for key, value in UNKNOWN_UPSTREAM.items() if key not in known and there.get(key) == value}
    asked = deciding(_plain(known), trainer)
    there = deciding(_plain(flatten(default_config())) | there, trainer)
    unset = "(not set)"
    return [
        f"{key}: {there.get(key, unset)!r} -> {asked.get(key, unset)!r}"
        for key in sorted((asked.keys() | there.keys()) - foreign)
        if counts(key) and asked.get(key, unset) != there.get(key, unset)
    ]


def _plain(flat: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists, as yaml and JSON give them back."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in flat.items()}


# ---- config.yaml ----


def write_config(cfg: CfgNode, directory: Path) -> None:
    """Write the resolved configuration to `directory`/config.yaml, as plain yaml (tuples as lists)."""
    write_atomically(directory / "config.yaml", yaml.safe_dump(nested(cfg)))


def nested(node: CfgNode) -> dict[str, Any]:
    """A configuration as dicts in dicts, tuples as lists."""
    leaf = {key: list(value) if isinstance(value, tuple) else value for key, value in node.items()}
    return {key: nested(value) if isinstance(value, CfgNode) else value for key, value in leaf.items()}


def read_config(directory: Path) -> dict[str, Any] | None:
    """What config.yaml in `directory` holds; None if there is none. Raises ValueError if it is damaged."""
    path = directory / "config.yaml"
    if not path.is_file():
        return None
    try:
        content = read_yaml(path)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged; move its directory away or choose another --output-dir.")
    return content


# ---- metrics.json ----


def read_record(directory: Path) -> dict[str, Any] | None:
    """What metrics.json in `directory` holds; None if there is none. Raises ValueError if it is damaged."""
    path = directory / "metrics.json"
    if not path.is_file():
        return None
    try:
        content = read_record_file(path)
    except ValueError:  # not UTF-8 or not JSON
        content = None
    if not isinstance(content, dict) or not is_plausible(content):
        raise ValueError(f"{path} is damaged; delete it to have the run finished again.")
    return content


def is_plausible(record: dict[str, Any]) -> bool:
    """Whether what is read of a record here is of the right kind."""
    accuracy, checkpoint = record.get("accuracy"), record.get("checkpoint")
    if not isinstance(record.get("complete", False), bool) or not isinstance(record.get("mode", ""), str):
        return False
    if accuracy is not None and not (is_number(accuracy) and 0 <= accuracy <= 100):
        return False
    return checkpoint is None or (isinstance(checkpoint, dict) and isinstance(checkpoint.get("sha256", {}), dict))


def is_number(value: Any) -> bool:
    """Whether a value out of a file is a number that can be counted with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def write_record(record: dict[str, Any], directory: Path) -> None:
    """Write `record` to `directory`/metrics.json."""
    write_atomically(directory / "metrics.json", json.dumps(finite(record), indent=2) + "\n")


def finite(value: Any) -> Any:
    """`value` with None for numbers that JSON has no word for: infinite, or none at all (NaN)."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def begin_record(
    cfg: CfgNode, mode: str, checkpoint: dict[str, Any] | None, command: list[str] | None = None
) -> dict[str, Any]:
    """The record of a run that is not complete yet.

    Args:
        cfg: the run's configuration.
        mode: "train" or "eval".
        checkpoint: what an evaluation reads, see `identify`. The evaluation belongs to the run that trained it: seed,
            shots and experiment are that one's, where the config.yaml beside the checkpoint says them.
        command: the arguments of train.py.
    """
    training = {} if checkpoint is None else training_settings(Path(checkpoint["directory"]))
    trained_epochs = None if checkpoint is None else checkpoint["epoch"]
    source = training_data(training)
    joint = is_joint(cfg, mode, checkpoint, training)
    return {
        "schema": SCHEMA,
        "complete": False,
        "mode": mode,
        "protocol": "base2new" if joint and training else protocol(cfg, source),
        "trainer": cfg.TRAINER.NAME,
        "dataset": data_label(cfg),
        "source_dataset": source,
        "subsample_classes": cfg.DATASET.SUBSAMPLE_CLASSES,
        "shots": number_of(training, "DATASET.NUM_SHOTS", cfg.DATASET.NUM_SHOTS),
        "seed": number_of(training, "SEED", cfg.SEED),
        "epoch": cfg.OPTIM.MAX_EPOCH if mode == "train" else trained_epochs,
        "backbone": cfg.MODEL.BACKBONE.NAME,
        "experiment": experiment_id(cfg, training),
        "checkpoint": checkpoint,
        "command": ["train.py", *(command or [])],
        "config": nested(cfg),
    }


def protocol(cfg: CfgNode, source: str | None) -> str:
    """Which of the field's experiments the run is part of; `source` is the data set of an evaluated checkpoint."""
    if cfg.DATASET.SUBSAMPLE_CLASSES != "all":
        return "base2new"
    return "fewshot" if source in (None, data_label(cfg)) else "cross_dataset"


def is_joint(cfg: CfgNode, mode: str, checkpoint: dict[str, Any] | None, training: dict[str, Any]) -> bool:
    """Whether the run tests on base and new classes together what knows the base classes alone, or learns nothing.

    Args:
        cfg: the run's configuration.
        mode: "train" or "eval".
        checkpoint: what an evaluation reads, None where nothing is learned.
        training: the flattened configuration of the training behind it, {} where none is known.
    """
    if mode != "eval" or cfg.DATASET.SUBSAMPLE_CLASSES != "all":
        return False
    trained_here = training_data(training) == data_label(cfg)
    return checkpoint is None or (trained_here and training.get("DATASET.SUBSAMPLE_CLASSES") == "base")


# ---- the checkpoint that an evaluation reads (--model-dir, --load-epoch) ----


def identify(model_dir: Path, epoch: int | None) -> dict[str, Any]:
    """`{"directory", "epoch", "sha256": {registered model name: digest}}` of the checkpoint in `model_dir`.

    Without `epoch` it is the best one on the validation set, model-best.pth.tar, as everywhere in CoOp-style code.
    Raises FileNotFoundError, naming what is there, if no model in `model_dir` has that checkpoint.
    """
    name = "model-best.pth.tar" if epoch is None else f"model.pth.tar-{epoch}"
    files = sorted(model_dir.glob(f"*/{name}"))
    if not files:
        raise FileNotFoundError(missing_checkpoint(model_dir, name))
    return {
        "directory": str(model_dir),
        "epoch": epoch,
        "sha256": {file.parent.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
    }


def missing_checkpoint(model_dir: Path, name: str) -> str:
    """One sentence on a checkpoint that is not there: the directory and what is in it."""
    sentence = f"There is no checkpoint {name} in a model directory of {model_dir} (--model-dir, --load-epoch)"
    if not model_dir.is_dir():
        return f"{sentence}: the directory does not exist; train first, or name the output directory of the training."
    there = sorted(str(file.relative_to(model_dir)) for file in model_dir.glob("*/model*.pth.tar*"))
    if there:
        return f"{sentence}; it holds {', '.join(there)}: choose one of them with --load-epoch."
    listed = ", ".join(sorted(path.name for path in model_dir.iterdir())) or "nothing"
    return f"{sentence}; it holds {listed}: train first, or name the output directory of the training."


def training_settings(model_dir: Path) -> dict[str, Any]:
    """The flattened configuration of the training in `model_dir`, by the config.yaml beside its checkpoints.

    {} where nothing readable says it, as beside a published checkpoint.
    """
    try:
        content = read_yaml(model_dir / "config.yaml")
    except (OSError, ValueError):
        return {}
    return flatten(content) if isinstance(content, dict) else {}


def training_data(training: dict[str, Any]) -> str | None:
    """What records call the data set of a training, by its flattened configuration; None where that does not say."""
    data = {key: training.get(f"DATASET.{key}", "") for key in ("NAME", "ROOT", "LIST", "LABEL")}
    if not data["NAME"] or not all(isinstance(value, str) for value in data.values()):
        return None
    try:
        return data_label(CfgNode({"DATASET": data}))
    except (KeyError, ValueError):
        return data["NAME"]  # it is not registered any more


def number_of(settings: dict[str, Any], key: str, otherwise: int) -> int:
    """A setting if it is a whole number, else `otherwise`."""
    value = settings.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
