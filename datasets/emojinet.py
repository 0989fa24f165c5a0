"""EmojiNet and EmojiNetMono, the benchmark that comes with the code (datasets/embedded/README.md)."""

from dassl.data.datasets import DATASET_REGISTRY

from datasets.base import SplitDataset


@DATASET_REGISTRY.register()
class EmojiNet(SplitDataset):
    """40 classes of emoji in two styles, split by emoji: none is in two of train, val and test."""

    dataset_dir = "emojinet"
    split_file = "split_zhou_EmojiNet.json"
    embedded = True


@DATASET_REGISTRY.register()
class EmojiNetMono(SplitDataset):
    """EmojiNet's test emoji in black and white: test images only, for cross-domain runs."""

    dataset_dir = "emojinet_mono"
    split_file = "split_zhou_EmojiNetMono.json"
    embedded = True
    test_only = True
