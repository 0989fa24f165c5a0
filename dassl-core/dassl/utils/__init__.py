"""Logging, seeds, registries, files, images and checkpoints."""

from dassl.utils.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from dassl.utils.images import as_rgb, open_image, read_image
from dassl.utils.logger import AverageMeter, Logger, MetricMeter, setup_logger
from dassl.utils.registry import Registry, UnknownName, check_availability
from dassl.utils.restoring import load_pretrained_weights, resume_from_checkpoint
from dassl.utils.tools import (
    check_isfile,
    collect_env_info,
    download_url,
    get_rng_state,
    listdir_nohidden,
    mkdir_if_missing,
    read_json,
    set_random_seed,
    set_rng_state,
    tolist_if_not,
    write_json,
)
from dassl.utils.torchtools import (
    count_num_param,
    init_network_weights,
    open_all_layers,
    open_specified_layers,
)

__all__ = [
    "AverageMeter",
    "CheckpointError",
    "Logger",
    "MetricMeter",
    "Registry",
    "UnknownName",
    "as_rgb",
    "check_availability",
    "check_isfile",
    "collect_env_info",
    "count_num_param",
    "download_url",
    "get_rng_state",
    "init_network_weights",
    "listdir_nohidden",
    "load_checkpoint",
    "load_pretrained_weights",
    "mkdir_if_missing",
    "open_all_layers",
    "open_image",
    "open_specified_layers",
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
