"""What the tests of data sets share."""

import os
import random
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
from dassl.config import get_cfg_default
from dassl.data.datasets import build_dataset
from mutations import at_most

from datasets.registered import extend_cfg


@pytest.fixture
def load():
    """load(name, root, shots=2, seed=1, subset="all", **DATASET's keys) -> the data set, read as a run reads it."""

    def build(name, root="", shots=2, seed=1, subset="all", **keys):
        cfg = get_cfg_default()
        extend_cfg(cfg)
        cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.SEED = name, str(root), shots, seed
        cfg.DATASET.SUBSAMPLE_CLASSES = subset
        cfg.DATASET.merge_from_list([value for pair in keys.items() for value in pair])
        if seed >= 0:
            random.seed(seed)
        return build_dataset(cfg)

    return build


@pytest.fixture
def bounded():
    """bounded(seconds): a block that may take so long, and half a gigabyte on top of what the process has."""

    @contextmanager
    def limit(seconds):
        limits = resource.getrlimit(resource.RLIMIT_AS)
        if os.path.exists("/proc/self/statm"):  # Linux
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**29, limits[1]))
        try:
            with at_most(seconds):
                yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)

    return limit
