"""Upstream's place of these names."""

from dassl.data.datasets.base_dataset import DATASET_REGISTRY, build_dataset

__all__ = ["DATASET_REGISTRY", "build_dataset"]
