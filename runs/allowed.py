"""Which values the keys of a configuration may have: ranges, lengths, choices."""

import math
from typing import Any

from datasets.splits import SUBSETS
from promptclip.geometry import ACTIVATIONS
from promptclip.memory import AUTO_ON_OFF
from promptclip.preprocessing import RESIZES
from runs.environment import STRICTNESS

INFINITE = math.inf
# key: least and greatest value; a tuple's entries are checked one by one
RANGES = {
    "SEED": (-1, 2**32 - 1),
    "INPUT.SIZE": (1, 10_000),
    "INPUT.PIXEL_MEAN": (-1000, 1000),
    "INPUT.PIXEL_STD": (1e-6, 1000),
    "INPUT.RRCROP_SCALE": (0, 1),
    "INPUT.CROP_PADDING": (0, 10_000),
    "INPUT.CUTOUT_N": (0, 10_000),
    "INPUT.CUTOUT_LEN": (0, 10_000),
    "INPUT.GN_MEAN": (-1000, 1000),
    "INPUT.GN_STD": (0, 1000),
    "INPUT.RANDAUGMENT_N": (0, 1000),
    "INPUT.RANDAUGMENT_M": (0, 30),
    "INPUT.COLORJITTER_B": (0, 1000),
    "INPUT.COLORJITTER_C": (0, 1000),
    "INPUT.COLORJITTER_S": (0, 1000),
    "INPUT.COLORJITTER_H": (0, 0.5),
    "INPUT.RGS_P": (0, 1),
    "INPUT.GB_P": (0, 1),
    "INPUT.GB_K": (1, 10_000),
    "DATASET.VAL_PERCENT": (0, 1),
    "DATALOADER.NUM_WORKERS": (0, 256),
    "DATALOADER.TEST.NUM_WORKERS": (-1, 256),
    "DATALOADER.CACHE_MB": (0, INFINITE),
    "DATALOADER.K_TRANSFORMS": (1, 1000),
    "DATALOADER.TRAIN_X.BATCH_SIZE": (1, INFINITE),
    "DATALOADER.TRAIN_X.N_INS": (1, INFINITE),
    "DATALOADER.TRAIN_U.BATCH_SIZE": (1, INFINITE),
    "DATALOADER.TRAIN_U.N_INS": (1, INFINITE),
    "DATALOADER.TEST.BATCH_SIZE": (1, INFINITE),
    "MODEL.HEAD.DROPOUT": (0, 1),
    "OPTIM.LR": (0, 1e6),
    "OPTIM.WEIGHT_DECAY": (0, 1e6),
    "OPTIM.MOMENTUM": (0, 1),
    "OPTIM.SGD_DAMPNING": (0, 1),
    "OPTIM.RMSPROP_ALPHA": (0, 1),
    "OPTIM.ADAM_BETA1": (0, 1 - 1e-9),
    "OPTIM.ADAM_BETA2": (0, 1 - 1e-9),
    "OPTIM.BASE_LR_MULT": (0, 1e6),
    "OPTIM.STEPSIZE": (-1, 1_000_000),
    "OPTIM.GAMMA": (0, 1),
    "OPTIM.MAX_EPOCH": (1, 1_000_000),
    "OPTIM.WARMUP_EPOCH": (-1, 1_000_000),
    "OPTIM.WARMUP_CONS_LR": (0, 1e6),
    "OPTIM.WARMUP_MIN_LR": (0, 1e6),
    "TRAIN.PRINT_FREQ": (1, INFINITE),
    "TRAIN.CHECKPOINT_FREQ": (0, INFINITE),
    "TEST.SHIFT_IMAGES": (0, INFINITE),
}
LENGTHS = {"INPUT.SIZE": 2, "INPUT.RRCROP_SCALE": 2, "INPUT.PIXEL_MEAN": 3, "INPUT.PIXEL_STD": 3}
CHOICES = {
    "DATASET.SUBSAMPLE_CLASSES": SUBSETS,
    "INPUT.RESIZE": RESIZES,
    "MODEL.BACKBONE.ACTIVATION": ("", *ACTIVATIONS),
    "MODEL.CHECKPOINTING": AUTO_ON_OFF,
    "MODEL.CUDA_GRAPH": AUTO_ON_OFF,
    "DATALOADER.TEST.SAMPLER": ("SequentialSampler", "RandomSampler"),  # the others leave images out or repeat some
    "TRAIN.DETERMINISTIC": STRICTNESS,
    "TRAIN.COUNT_ITER": ("train_x", "train_u", "smaller_one"),
    "TEST.SPLIT": ("test", "val"),
    "TEST.FINAL_MODEL": ("last_step", "best_val"),
}
ONCE_BOOLEAN = {"MODEL.CUDA_GRAPH": {"True": "auto", "False": "off"}}
"""Keys whose values were True and False once, as older files and commands have them."""


def check_range(key: str, value: Any, low: float, high: float) -> None:
    """Raise ValueError if a number, or one of a tuple's, is not from `low` to `high`."""
    for one in value if isinstance(value, tuple | list) else [value]:
        if isinstance(one, bool) or not isinstance(one, int | float) or not low <= one <= high:
            most = f" to {high:,}" if high < INFINITE else " or more"
            raise ValueError(f"{key} is {value!r}; allowed is {low}{most}.")
