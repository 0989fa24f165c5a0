"""Flowers102: 102 kinds of flowers that grow in the United Kingdom (Nilsback and Zisserman 2008)."""

from dassl.data.datasets import DATASET_REGISTRY, Datum

from datasets.base import SplitDataset
from datasets.facts import Archive, ByHand, Facts, drive, published_split
from datasets.splits import Parts, split_classes
from datasets.tables import lookup, read_mapping, read_matlab

ADDRESS = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"


@DATASET_REGISTRY.register()
class OxfordFlowers(SplitDataset):
    """Divided like the data sets that are split by folder, classes in the order in which they appear in the list."""

    dataset_dir = "oxford_flowers"
    image_dir = "jpg"
    split_file = "split_zhou_OxfordFlowers.json"
    layout = (
        "jpg/*.jpg",
        "split_zhou_OxfordFlowers.json (made if it is not there, from imagelabels.mat and cat_to_name.json)",
    )
    facts = Facts(
        *(102, 4093, 1633, 2463),
        licence="not stated",
        homepage=ADDRESS,
        archives=(
            Archive(f"{ADDRESS}102flowers.tgz", md5="52808999861908f626f3c1f4e79d11fa"),
            Archive(f"{ADDRESS}imagelabels.mat", md5="e0620be6f572b9609742df49c70aed4d"),
        ),
        by_hand=(
            ByHand("cat_to_name.json", f"{drive('1AkcxCXeK_RCGCEC_GvmWxjcjaNhu-at0')}; to make a split", optional=True),
            published_split("split_zhou_OxfordFlowers.json", "1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT"),
        ),
    )

    def make_parts(self) -> Parts:
        """As rule P, from the label (from 1) of every image and a name for every label."""
        labels, names = self.require("imagelabels.mat"), self.require("cat_to_name.json")
        names_by_label = read_mapping(names)
        classes: dict[int, list[Datum]] = {}
        for number, label in enumerate(map(int, read_matlab(labels, "labels")), start=1):
            image = str(self.images / f"image_{number:05d}.jpg")
            name = lookup(names_by_label, str(label), names)
            classes.setdefault(label, []).append(Datum(image, label - 1, classname=name))
        return split_classes(list(classes.values()))
