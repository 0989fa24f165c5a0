"""ImageNet: 1000 kinds of things (Deng et al. 2009), with the class names that CLIP's authors curated."""

from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY, Datum

from datasets.base import SplitDataset
from datasets.facts import CLASSNAMES, ByHand, Facts
from datasets.fewshot import read_pickle, write_cache
from datasets.files import list_folders, list_images
from datasets.splits import Parts, inside
from datasets.tables import lookup, read_pairs


def read_classnames(path: Path) -> dict[str, str]:
    """{"n01440764": "tench", ...} in the order of the file."""
    return dict(read_pairs(path))


def list_classes(images: Path, below: str, names: dict[str, str], path: Path) -> list[Datum]:
    """All images of the class folders in `images`/`below`; labels by the sorted folders, names from `path`."""
    folder = images / below
    return [
        Datum(str(folder / wnid / image), label, classname=lookup(names, wnid, path))
        for label, wnid in enumerate(list_folders(folder))
        for image in list_images(folder / wnid)
    ]


@DATASET_REGISTRY.register()
class ImageNet(SplitDataset):
    """The validation images are test and val at once.

    Listing a million files takes its time, so the lists are kept in preprocessed.pkl, as the family does. One that CoOp
    left is used as it is: it lists in the order of the file system that made it, and that decides which images a
    seed draws. New ones are sorted, so they draw the same images on every machine.
    """

    dataset_dir = "imagenet"
    val_is_test = True
    layout = ("images/train/n*/*.JPEG", "images/val/n*/*.JPEG", "classnames.txt")
    facts = Facts(
        *(1000, 1281167, 0, 50000),
        licence="non-commercial research",
        homepage="https://image-net.org/download.php",
        by_hand=(
            ByHand("images/train", "ILSVRC2012_img_train.tar from https://image-net.org (login), a folder a class"),
            ByHand(
                "images/val", "ILSVRC2012_img_val.tar from https://image-net.org (login), sorted into class folders"
            ),
            CLASSNAMES,
        ),
    )

    def make_parts(self) -> Parts:
        """{"train", "test"}."""
        kept = self.folder / "preprocessed.pkl"
        if kept.is_file():
            return {part: self.relocate(part, kept, items) for part, items in read_pickle(kept).items()}
        path = self.require("classnames.txt", "images/train", "images/val")
        names = read_classnames(path)
        if list_folders(self.images / "train") != list_folders(self.images / "val"):
            raise ValueError(
                f"{self.images}/train and {self.images}/val hold different class folders; sort the validation images "
                "into the folders of their classes, and take out what is no class."
            )
        parts = {
            "train": list_classes(self.images, "train", names, path),
            "test": list_classes(self.images, "val", names, path),
        }
        write_cache(parts, kept, "The list of images")
        return parts

    def relocate(self, part: str, kept: Path, items: list) -> list[Datum]:
        """Items of preprocessed.pkl with paths of this machine: the last three steps are train|val, class, image."""
        where = f"An entry of {part!r} in {kept}"
        return [
            Datum(inside("/".join(path.split("/")[-3:]), where, self.images), label, classname=name)
            for path, label, name in items
        ]
