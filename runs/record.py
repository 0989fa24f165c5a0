"""The record of a run: `config.yaml`, what was asked for, and `metrics.json`, what came of it (docs/records.md).

Both are written in one step (a temporary file, then a rename), so a killed run leaves no half of either.
"""

import hashlib
import json
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY
from yacs.config import CfgNode

from promptclip.common.yaml_file import read_yaml
from runs.checkpoint import trained_on
from runs.config import default_config, extend_by_trainer, flatten

SCHEMA = 2

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
        "TRAIN.PRINT_FREQ",
        "TRAIN.TRACK_SHIFT",
        "USE_CUDA",
        "VERBOSE",
        "VERSION",
    }
)
# Keys in which the runs of one experiment (one row of a table) differ.
WITHIN_EXPERIMENT = frozenset({"DATASET.NAME", "DATASET.SUBSAMPLE_CLASSES", "SEED"})


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader, or a kill, never meets half of it."""
    temporary = path.with_name(f".{path.name}.part")  # one name, so that killed runs leave no pile
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise OSError(f"{path} cannot be written ({error.strerror or error}); what was there is untouched.") from error


def effective(flat: dict[str, Any], trainer: str) -> dict[str, Any]:
    """The keys of a flattened configuration that can change the result of a run by `trainer`.

    Other methods' sections are left out, so that a method added later leaves earlier runs valid.
    """
    without_methods = get_cfg_default()
    before = set(flatten(without_methods))
    extend_by_trainer(without_methods, trainer)
    own = set(flatten(without_methods)) - before
    idle = WITHOUT_EFFECT - {"DATASET.ROOT"} if root_is_data(flat.get("DATASET.NAME", "")) else WITHOUT_EFFECT
    return {
        key: value
        for key, value in flat.items()
        if key not in idle and (key == "TRAINER.NAME" or not key.startswith("TRAINER.") or key in own)
    }


def root_is_data(name: str) -> bool:
    """Whether data set `name` is whatever lies at DATASET.ROOT, so that another root is another data set."""
    known = name in DATASET_REGISTRY.registered_names()
    return known and getattr(DATASET_REGISTRY.get(name), "root_is_data", False)


def experiment_id(cfg: CfgNode) -> str:
    """Eight hex digits shared by the runs that differ only in seed, data set and class subset.

    Only what departs from the defaults counts, so that an option added later changes no earlier run's digits.
    """
    settings, usual = effective(_plain(flatten(cfg)), cfg.TRAINER.NAME), _plain(flatten(default_config()))
    kept = {key: value for key, value in settings.items() if key not in WITHIN_EXPERIMENT and value != usual.get(key)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]


def differences(cfg: CfgNode, stored: dict[str, Any]) -> list[str]:
    """`KEY: stored -> asked for`, for every key that can change the result; `stored` as read from config.yaml.

    A key that config.yaml lacks is an option added since; that run did what the option's default does.
    """
    trainer = cfg.TRAINER.NAME
    usual = _plain(flatten(default_config()))
    asked, there = (effective(_plain(flat), trainer) for flat in (flatten(cfg), usual | flatten(stored)))
    unset = "(not set)"
    return [
        f"{key}: {there.get(key, unset)!r} -> {asked.get(key, unset)!r}"
        for key in sorted(asked.keys() | there.keys())
        if asked.get(key, unset) != there.get(key, unset)
    ]


def _plain(flat: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists, as yaml and JSON give them back."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in flat.items()}


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


def read_record(directory: Path) -> dict[str, Any] | None:
    """What metrics.json in `directory` holds; None if there is none. Raises ValueError if it is damaged."""
    path = directory / "metrics.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # not UTF-8 or not JSON
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged; delete it to have the run finished again.")
    return content


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

    `mode` is "train" or "eval"; `checkpoint` what an evaluation reads, see `runs.checkpoint.identify`; `command` the
    arguments of train.py.
    """
    trained_epochs = None if checkpoint is None else checkpoint["epoch"]
    source = None if checkpoint is None else trained_on(Path(checkpoint["directory"]))
    return {
        "schema": SCHEMA,
        "complete": False,
        "mode": mode,
        "protocol": protocol(cfg, source),
        "trainer": cfg.TRAINER.NAME,
        "dataset": cfg.DATASET.NAME,
        "source_dataset": source,
        "subsample_classes": cfg.DATASET.SUBSAMPLE_CLASSES,
        "shots": cfg.DATASET.NUM_SHOTS,
        "seed": cfg.SEED,
        "epoch": cfg.OPTIM.MAX_EPOCH if mode == "train" else trained_epochs,
        "backbone": cfg.MODEL.BACKBONE.NAME,
        "experiment": experiment_id(cfg),
        "checkpoint": checkpoint,
        "command": ["train.py", *(command or [])],
        "config": nested(cfg),
    }


def protocol(cfg: CfgNode, source: str | None) -> str:
    """Which of the field's experiments the run is part of; `source` is the data set of an evaluated checkpoint."""
    if cfg.DATASET.SUBSAMPLE_CLASSES != "all":
        return "base2new"
    return "fewshot" if source in (None, cfg.DATASET.NAME) else "cross_dataset"
