"""Food101: 101 dishes (Bossard et al. 2014)."""

from dassl.data.datasets import DATASET_REGISTRY

from datasets.base import SplitDataset
from datasets.facts import Archive, Facts, published_split
from datasets.splits import Parts, split_by_folder


@DATASET_REGISTRY.register()
class Food101(SplitDataset):
    """Split by folder; the publisher's own division is not used."""

    dataset_dir = "food-101"
    split_file = "split_zhou_Food101.json"
    layout = ("images/<class>/*.jpg", "split_zhou_Food101.json (made if it is not there)")
    facts = Facts(
        *(101, 50500, 20200, 30300),
        licence="research",
        homepage="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        archives=(
            Archive(
                "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
                md5="85eeb15f3717b99a5da872d97d918f87",
                strip="food-101",
            ),
        ),
        by_hand=(published_split("split_zhou_Food101.json", "1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl"),),
    )

    def make_parts(self) -> Parts:
        """Rule P."""
        self.require(self.image_dir)
        return split_by_folder(self.images)
