"""What can be known of a run before it starts: its configuration, whether it is done or in use, whether its data and
weights are there. All that sweeps ask of train.py's own rooms is asked here.
"""

import io
import os
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from dassl.utils import set_random_seed
from yacs.config import CfgNode

from promptclip.backbone import load_clip
from promptclip.common.files import InUse, Lock, holder
from promptclip.common.names import flatten, unknown
from runs.command_line import build_parser
from runs.config import build_config, check_names, check_places, check_values, is_prompt_method
from runs.directory import LOCK, earlier_record, is_finished
from runs.record import WITHOUT_EFFECT, begin_record, deciding, identify, read_config
from sweeps.perform import PlannedRun

# ---- configuration ----


def learns(trainer: str) -> bool:
    """Whether a method learns anything. Raises ValueError, with the nearest name, if there is no such method."""
    methods = TRAINER_REGISTRY.registered_names()
    if trainer not in methods:
        raise ValueError(unknown("trainer", trainer, methods))
    method = getattr(TRAINER_REGISTRY.get(trainer), "method", None)
    return method is None or method.learns != ()


def configure(arguments: list[str]) -> CfgNode:
    """The configuration of train.py's `arguments`, checked as train.py checks it. Raises ValueError."""
    try:
        cfg = build_config(build_parser("").parse_args(arguments))
        check_names(cfg)
        check_values(cfg)
    except (KeyError, FileNotFoundError) as error:
        raise ValueError(error.args[0] if isinstance(error, KeyError) else str(error)) from error
    return cfg


def sort_options(options: dict[str, Any], before: CfgNode, after: CfgNode) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of the KEY VALUE `options` between two configurations those that change a result, and those that never do.

    Left out are those that repeat what holds anyway, and other methods'.
    """
    flat, mattering = flatten(before), deciding(flatten(after), after.TRAINER.NAME)
    changing = {key: value for key, value in options.items() if key in mattering and mattering[key] != flat[key]}
    return changing, {key: value for key, value in options.items() if key in WITHOUT_EFFECT and key not in changing}


# ---- directories ----


def finished(run: PlannedRun, cfg: CfgNode) -> bool:
    """Whether the run's directory holds its complete record, of the same configuration and the same checkpoint.

    Raises ValueError, in train.py's own sentence, if the directory belongs to another run or its record is damaged.
    """
    directory = Path(run.directory)
    if read_config(directory) is None:
        return False
    try:
        checkpoint = identify(Path(run.needs), run.epochs) if run.needs else None
    except FileNotFoundError:
        return False
    record = begin_record(cfg, "train" if run.trains else "eval", checkpoint)
    earlier = earlier_record(directory, cfg, record)
    return earlier is not None and is_finished(record, earlier)


def user_of(run: PlannedRun) -> str | None:
    """Who is at work in the run's directory, in words; None if nobody is.

    A run may have been started by hand, and where nothing ends it, one outlives its killed sweep.
    """
    return holder(Path(run.directory) / LOCK)


def try_lock(path: Path) -> Lock | None:
    """A lock to `release`, which falls with this process; None if another sweep holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(path)
    try:
        lock.take()
    except InUse:
        return None
    return lock


# ---- data and weights ----


def input_problems(configs: Iterable[CfgNode]) -> list[str]:
    """What would break runs of these configurations at their start, a sentence each: data root, lists of images, class
    names, weights. Every data set and every backbone is opened once; no image is decoded.
    """
    problems, seen = [], set()
    for cfg in configs:
        for check, key in ((dataset_problem, dataset_key(cfg)), (backbone_problem, cfg.MODEL.BACKBONE.NAME)):
            if (check, key) not in seen:
                seen.add((check, key))
                problems.append(check(cfg))
    return list(dict.fromkeys(filter(None, problems)))


def dataset_key(cfg: CfgNode) -> str:
    """What tells the data sets of configurations apart."""
    return str({key: value for key, value in cfg.DATASET.items() if key not in ("NUM_SHOTS", "SUBSAMPLE_CLASSES")})


def dataset_problem(cfg: CfgNode) -> str | None:
    """Why the data set cannot be used, or None. No few shots are drawn: they are the runs' own affair."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASET.NUM_SHOTS = -1
    cfg.freeze()
    name, root = cfg.DATASET.NAME, cfg.DATASET.ROOT
    try:
        check_places(cfg)
        if cfg.SEED >= 0:
            set_random_seed(cfg.SEED)  # as a run does, in case the data set makes a split now
        with redirect_stdout(io.StringIO()):  # runs will print it, too
            dataset = DATASET_REGISTRY.get(name)(cfg)
        first = [items[0].impath for items in (dataset.train_x, dataset.val, dataset.test) if items]
    except Exception as error:  # a data set may be anybody's code
        return str(error) if isinstance(error, OSError | ValueError) else f"{name}: {type(error).__name__}: {error}"
    absent = next((path for path in first if not os.path.exists(path)), None)
    return f"{name}: there is no {absent}, which its list of images names; look below {root}." if absent else None


def backbone_problem(cfg: CfgNode) -> str | None:
    """Why the weights cannot be used, or None; named ones are fetched. Only our own trainers say what loads them."""
    if not is_prompt_method(cfg.TRAINER.NAME):
        return None
    try:
        load_clip(cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.ACTIVATION)
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        return str(error)
    return None
