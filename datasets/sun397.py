"""SUN397: 397 kinds of scenes (Xiao et al. 2010)."""

import os

from dassl.data.datasets import DATASET_REGISTRY, Datum

from datasets.base import SplitDataset
from datasets.facts import Archive, Facts, published_split
from datasets.splits import Parts, inside, split_trainval
from datasets.tables import lookup, read_lines

ADDRESS = "https://vision.princeton.edu/projects/2010/SUN"


@DATASET_REGISTRY.register()
class SUN397(SplitDataset):
    """The publisher's first of ten divisions, a fifth of its training images set aside for validation."""

    dataset_dir = "sun397"
    image_dir = "SUN397"
    split_file = "split_zhou_SUN397.json"
    layout = (
        "SUN397/<letter>/<class>/*.jpg",
        "split_zhou_SUN397.json (made if it is not there, from ClassName.txt, Training_01.txt and Testing_01.txt)",
    )
    facts = Facts(
        *(397, 15880, 3970, 19850),
        licence="research",
        homepage=f"{ADDRESS}/",
        archives=(
            Archive(
                "http://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz",
                md5="8ca2778205c41d23104230ba66911c7a",
            ),
            Archive(f"{ADDRESS}/download/Partitions.zip"),
        ),
        by_hand=(published_split("split_zhou_SUN397.json", "1y2RD81BYuiyvebdN-JymPfyWYcd8_MUq"),),
    )

    def make_parts(self) -> Parts:
        """Rule T."""
        train, val = split_trainval(self.read_list("Training_01.txt"))
        return {"train": train, "val": val, "test": self.read_list("Testing_01.txt")}

    def read_list(self, file: str) -> list[Datum]:
        """Lines "/a/apartment_building/outdoor/sun_x.jpg", whose class is named "outdoor apartment_building"."""
        path, classes = self.require(file), self.require("ClassName.txt")
        labels = {line.lstrip("/"): label for label, line in enumerate(read_lines(classes))}
        items = []
        for line in read_lines(path):
            image = line.lstrip("/")
            folder = os.path.dirname(image)
            name = " ".join(reversed(folder.split("/")[1:]))  # without the letter
            label = lookup(labels, folder, classes)
            items.append(Datum(inside(image, os.fspath(path), self.images), label, classname=name))
        return items
