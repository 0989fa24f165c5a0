"""DTD, the Describable Textures Dataset: 47 kinds of texture (Cimpoi et al. 2014)."""

from dassl.data.datasets import DATASET_REGISTRY

from datasets.base import SplitDataset
from datasets.facts import Archive, Facts, published_split
from datasets.splits import Parts, split_by_folder


@DATASET_REGISTRY.register()
class DescribableTextures(SplitDataset):
    """Split by folder."""

    dataset_dir = "dtd"
    split_file = "split_zhou_DescribableTextures.json"
    layout = ("images/<class>/*.jpg", "split_zhou_DescribableTextures.json (made if it is not there)")
    facts = Facts(
        *(47, 2820, 1128, 1692),
        licence="research",
        homepage="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        archives=(
            Archive(
                "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
                md5="fff73e5086ae6bdbea199a49dfb8a4c1",
                strip="dtd",
            ),
        ),
        by_hand=(published_split("split_zhou_DescribableTextures.json", "1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x"),),
    )

    def make_parts(self) -> Parts:
        """Rule P."""
        self.require(self.image_dir)
        return split_by_folder(self.images)
