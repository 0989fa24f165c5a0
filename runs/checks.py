"""Values that cannot be right, refused before any data is read; what depends on the backbone its trainer checks."""

import math
from typing import Any

from yacs.config import CfgNode

INFINITE = math.inf
# key: least and greatest value; a tuple's entries are checked one by one
RANGES = {
    "SEED": (-1, 2**32 - 1),
    "INPUT.SIZE": (1, 10_000),
    "INPUT.RRCROP_SCALE": (0, 1),
    "DATALOADER.NUM_WORKERS": (0, 1024),
    "DATALOADER.K_TRANSFORMS": (1, 1000),
    "DATALOADER.TRAIN_X.BATCH_SIZE": (1, INFINITE),
    "DATALOADER.TRAIN_U.BATCH_SIZE": (1, INFINITE),
    "DATALOADER.TEST.BATCH_SIZE": (1, INFINITE),
    "OPTIM.LR": (0, 1e6),
    "OPTIM.WEIGHT_DECAY": (0, 1e6),
    "OPTIM.MOMENTUM": (0, 1),
    "OPTIM.MAX_EPOCH": (1, 1_000_000),
    "OPTIM.WARMUP_EPOCH": (-1, 1_000_000),
    "OPTIM.WARMUP_CONS_LR": (0, 1e6),
    "OPTIM.WARMUP_MIN_LR": (0, 1e6),
    "TRAIN.PRINT_FREQ": (1, INFINITE),
    "TRAIN.CHECKPOINT_FREQ": (0, INFINITE),
    "TEST.SHIFT_IMAGES": (0, INFINITE),
    "DATASET.VAL_PERCENT": (0, 1),
}
LENGTHS = {"INPUT.SIZE": 2, "INPUT.RRCROP_SCALE": 2, "INPUT.PIXEL_MEAN": 3, "INPUT.PIXEL_STD": 3}


def value_of(cfg: CfgNode, key: str) -> Any:
    """The value at a dotted key."""
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


def check_values(cfg: CfgNode) -> None:
    """Raise ValueError, with the allowed range, for an impossible value."""
    shots = cfg.DATASET.NUM_SHOTS
    if shots < 1 and shots != -1:
        raise ValueError(f"DATASET.NUM_SHOTS is {shots}; allowed are 1 and more, or -1 for all training images.")
    for key, length in LENGTHS.items():
        if len(value_of(cfg, key)) != length:
            raise ValueError(f"{key} is {value_of(cfg, key)!r}; it must have {length} entries.")
    for key, (low, high) in RANGES.items():
        value = value_of(cfg, key)
        for one in value if isinstance(value, tuple | list) else [value]:
            if isinstance(one, bool) or not isinstance(one, int | float) or not low <= one <= high:
                most = f" to {high:,}" if high < INFINITE else " or more"
                raise ValueError(f"{key} is {value!r}; allowed is {low}{most}.")
    if cfg.OPTIM.WARMUP_EPOCH > cfg.OPTIM.MAX_EPOCH:
        raise ValueError(
            f"OPTIM.WARMUP_EPOCH is {cfg.OPTIM.WARMUP_EPOCH}, but OPTIM.MAX_EPOCH only {cfg.OPTIM.MAX_EPOCH}; "
            f"allowed is -1 (none) to {cfg.OPTIM.MAX_EPOCH}."
        )


def check_batch(cfg: CfgNode, trainer: Any) -> None:
    """Raise ValueError if a training batch is larger than the training set, of which no image is read yet."""
    size, images = cfg.DATALOADER.TRAIN_X.BATCH_SIZE, len(getattr(trainer.dm.dataset, "train_x", None) or [])
    if trainer.get_model_names() and size > images:
        raise ValueError(
            f"DATALOADER.TRAIN_X.BATCH_SIZE is {size}, but the training set has {images:,} images "
            f"(DATASET.NUM_SHOTS {cfg.DATASET.NUM_SHOTS}); allowed is 1 to {images:,}."
        )
