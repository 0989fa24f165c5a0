"""Logging, seeds, meters, registries, files and checkpoints."""

from dassl.utils.checkpoint import CheckpointError, load_checkpoint, resume_from_checkpoint, save_checkpoint
from dassl.utils.env import collect_env_info
from dassl.utils.files import (
    check_isfile,
    listdir_nohidden,
    mkdir_if_missing,
    read_image,
    read_json,
    tolist_if_not,
    write_json,
)
from dassl.utils.logger import Logger, setup_logger
from dassl.utils.meters import AverageMeter, MetricMeter
from dassl.utils.names import UnknownName, check_availability
from dassl.utils.registry import Registry
from dassl.utils.rng import get_rng_state, set_random_seed, set_rng_state
from dassl.utils.weights import count_num_param, load_pretrained_weights

__all__ = [
    "AverageMeter",
    "CheckpointError",
    "Logger",
    "MetricMeter",
    "Registry",
    "UnknownName",
    "check_availability",
    "check_isfile",
    "collect_env_info",
    "count_num_param",
    "get_rng_state",
    "listdir_nohidden",
    "load_checkpoint",
    "load_pretrained_weights",
    "mkdir_if_missing",
    "read_image",
    "read_json",
    "resume_from_checkpoint",
    "save_checkpoint",
    "set_random_seed",
    "set_rng_state",
    "setup_logger",
    "tolist_if_not",
    "write_json",
]
