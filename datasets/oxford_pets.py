"""OxfordPets: 37 breeds of cats and dogs (Parkhi et al. 2012)."""

import os

from dassl.data.datasets import DATASET_REGISTRY, Datum

from datasets.base import SplitDataset
from datasets.facts import Archive, Facts, published_split
from datasets.splits import Parts, inside, split_trainval
from datasets.tables import read_pairs, read_whole_number


@DATASET_REGISTRY.register()
class OxfordPets(SplitDataset):
    """Publisher's trainval, a fifth of it set aside for validation, and test."""

    dataset_dir = "oxford_pets"
    split_file = "split_zhou_OxfordPets.json"
    layout = ("images/*.jpg", "split_zhou_OxfordPets.json (made if it is not there, from annotations/*.txt)")
    facts = Facts(
        *(37, 2944, 736, 3669),
        licence="CC BY-SA 4.0",
        homepage="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        archives=(
            Archive(
                "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
                md5="5c4f3ee8e5d25df40f4fd59a7f44e54c",
            ),
            Archive(
                "https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",
                md5="95a8c909bbe2e81eed6a22bccdf3f68f",
            ),
        ),
        by_hand=(published_split("split_zhou_OxfordPets.json", "1501r8Ber4nNKvmlFVQZ8SeUHTcdTTEqs"),),
    )

    def make_parts(self) -> Parts:
        """Rule T."""
        train, val = split_trainval(self.read_list("annotations/trainval.txt"))
        return {"train": train, "val": val, "test": self.read_list("annotations/test.txt")}

    def read_list(self, file: str) -> list[Datum]:
        """Lines "Abyssinian_100 1 1 1": image, label from 1, species, breed; the image's name says its class."""
        path = self.require(file)
        items = []
        for image, numbers in read_pairs(path):
            name = "_".join(image.split("_")[:-1]).lower()
            label = read_whole_number(numbers.split()[0], path) - 1
            items.append(Datum(inside(f"{image}.jpg", os.fspath(path), self.images), label, classname=name))
        return items
