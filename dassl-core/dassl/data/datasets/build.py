"""These names under upstream's module path."""

from dassl.data.datasets.base_dataset import DATASET_REGISTRY, build_dataset

__all__ = ["DATASET_REGISTRY", "build_dataset"]
