"""What the tests of data sets share."""

import random

import pytest
from dassl.config import get_cfg_default
from dassl.data.datasets import build_dataset

import datasets


@pytest.fixture
def load():
    """load(name, root, shots=2, seed=1, subset="all", **DATASET's keys) -> the data set, read as a run reads it."""

    def build(name, root="", shots=2, seed=1, subset="all", **keys):
        cfg = get_cfg_default()
        datasets.extend_cfg(cfg)
        cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.SEED = name, str(root), shots, seed
        cfg.DATASET.SUBSAMPLE_CLASSES = subset
        cfg.DATASET.merge_from_list([value for pair in keys.items() for value in pair])
        if seed >= 0:
            random.seed(seed)
        return build_dataset(cfg)

    return build
