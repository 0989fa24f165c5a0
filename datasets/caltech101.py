"""Caltech101: 100 kinds of things (Fei-Fei et al. 2004)."""

from dassl.data.datasets import DATASET_REGISTRY

from datasets.base import SplitDataset
from datasets.facts import Archive, Facts, published_split
from datasets.splits import Parts, split_by_folder

NAMES = {"airplanes": "airplane", "Faces": "face", "Leopards": "leopard", "Motorbikes": "motorbike"}
IGNORED = ("BACKGROUND_Google", "Faces_easy")  # no class, and Faces once more


@DATASET_REGISTRY.register()
class Caltech101(SplitDataset):
    """Split by folder; the two folders above are left out, four classes renamed."""

    dataset_dir = "caltech-101"
    image_dir = "101_ObjectCategories"
    split_file = "split_zhou_Caltech101.json"
    layout = ("101_ObjectCategories/<class>/*.jpg", "split_zhou_Caltech101.json (made if it is not there)")
    facts = Facts(
        *(100, 4128, 1649, 2465),
        licence="CC BY 4.0",
        homepage="https://data.caltech.edu/records/mzrjq-6wc02",
        archives=(
            Archive(
                "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
                md5="3138e1922a9193bfa496528edbbc45d0",
                inner="caltech-101/101_ObjectCategories.tar.gz",
            ),
        ),
        by_hand=(published_split("split_zhou_Caltech101.json", "1hyarUivQE36mY6jSomru6Fjd-JzwcCzN"),),
    )

    def make_parts(self) -> Parts:
        """Rule P."""
        self.require(self.image_dir)
        return split_by_folder(self.images, NAMES, IGNORED)
