"""StanfordCars: 196 models of cars (Krause et al. 2013)."""

import os

from dassl.data.datasets import DATASET_REGISTRY, Datum

from datasets.base import SplitDataset
from datasets.facts import MIRROR, ByHand, Facts, published_split
from datasets.splits import Parts, inside, split_trainval
from datasets.tables import read_matlab

GONE = f"the publisher's host is gone; look at https://github.com/pytorch/vision/issues/7545 and {MIRROR}"


@DATASET_REGISTRY.register()
class StanfordCars(SplitDataset):
    """Publisher's training images, a fifth of them set aside for validation, and test images."""

    dataset_dir = "stanford_cars"
    image_dir = ""  # the two folders of images are part of the paths in the split file
    split_file = "split_zhou_StanfordCars.json"
    layout = (
        "cars_train/*.jpg",
        "cars_test/*.jpg",
        "split_zhou_StanfordCars.json (made if it is not there, from devkit/*.mat and cars_test_annos_withlabels.mat)",
    )
    facts = Facts(
        *(196, 6509, 1635, 8041),
        licence="non-commercial research",
        homepage="https://github.com/pytorch/vision/issues/7545",
        by_hand=(
            ByHand("cars_train", f"cars_train.tgz, unpacked: {GONE}"),
            ByHand("cars_test", f"cars_test.tgz, unpacked: {GONE}"),
            ByHand("devkit", "car_devkit.tgz, unpacked: as above; needed only to make a split", optional=True),
            ByHand("cars_test_annos_withlabels.mat", "as above; needed only to make a split", optional=True),
            published_split("split_zhou_StanfordCars.json", "1ObCFbaAgVu0I-k_Au-gIUcefirdAuizT"),
        ),
    )

    def make_parts(self) -> Parts:
        """Rule T."""
        train, val = split_trainval(self.read_annotations("cars_train", "devkit/cars_train_annos.mat"))
        test = self.read_annotations("cars_test", "cars_test_annos_withlabels.mat")
        return {"train": train, "val": val, "test": test}

    def read_annotations(self, folder: str, file: str) -> list[Datum]:
        """Images of a folder, labels (from 1) of a file; the year of "AM General Hummer SUV 2000" is put first."""
        path = self.require(file)
        meta = self.require("devkit/cars_meta.mat")
        names = [str(name[0]).split(" ") for name in read_matlab(meta, "class_names")]
        items = []
        for row in read_matlab(path, "annotations"):
            image, label = str(row["fname"][0]), int(row["class"][0, 0]) - 1
            if not 0 <= label < len(names):
                raise ValueError(f"{path} has the label {label + 1}, but {meta} names {len(names)} classes.")
            name = " ".join([names[label][-1], *names[label][:-1]])
            items.append(Datum(inside(f"{folder}/{image}", os.fspath(path), self.images), label, classname=name))
        return items
