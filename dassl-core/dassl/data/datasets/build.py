"""The table of data sets."""

from typing import Any

from dassl.data.datasets.base_dataset import DatasetBase
from dassl.utils import Registry, check_availability

DATASET_REGISTRY = Registry("DATASET")


def build_dataset(cfg: Any) -> DatasetBase:
    """Return the data set cfg.DATASET.NAME names. Raises KeyError with the nearest name if there is none."""
    check_availability(cfg.DATASET.NAME, DATASET_REGISTRY.registered_names(), "data set")
    if cfg.VERBOSE:
        print(f"Loading dataset: {cfg.DATASET.NAME}")
    return DATASET_REGISTRY.get(cfg.DATASET.NAME)(cfg)
