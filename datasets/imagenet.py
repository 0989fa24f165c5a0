"""ImageNet and the four sets that share its classes, named as CLIP's authors curated them in classnames.txt."""

import os
from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY, Datum

from datasets.base import DRIVE, Archive, ByHand, Facts, SplitDataset
from datasets.fewshot import read_pickle, write_pickle
from datasets.files import is_there, list_folders, list_images, lookup, read_keyed
from datasets.splits import Parts

CLASSNAMES = ByHand("classnames.txt", f"{DRIVE}/1-61f_ol79pViBFDG_IDlUQSwoLcn2XXF/view")


def read_classnames(path: Path) -> dict[str, str]:
    """{"n01440764": "tench", ...} in the order of the file."""
    return read_keyed(path)


def list_classes(images: Path, below: str, names: dict[str, str], path: Path) -> list[Datum]:
    """All images of the class folders in `images`/`below`; labels by the sorted folders, names from `path`."""
    folder = images / below
    return [
        Datum(os.path.join(folder, wnid, image), label, classname=name)
        for label, (wnid, files) in enumerate(list_images(folder, list_folders(folder)).items())
        for name in [lookup(names, wnid, path)]
        for image in files
    ]


@DATASET_REGISTRY.register()
class ImageNet(SplitDataset):
    """1000 kinds of things (Deng et al. 2009). The validation images are test and val at once.

    Listing a million files takes its time, so the lists are kept in preprocessed.pkl, as CoOp does. One that CoOp left
    is used as it is: it lists in the order of the file system that made it, and that decides which images a seed draws.
    New ones are sorted, so they draw the same images on every machine.
    """

    dataset_dir = "imagenet"
    val_is_test = True
    layout = ("images/train/n*/*.JPEG", "images/val/n*/*.JPEG", "classnames.txt")
    facts = Facts(
        *(1000, 1281167, 0, 50000),
        licence="non-commercial research",
        homepage="https://image-net.org/download.php",
        by_hand=(
            ByHand("images/train", "ILSVRC2012_img_train.tar from https://image-net.org (login), a folder per class"),
            ByHand(
                "images/val", "ILSVRC2012_img_val.tar from https://image-net.org (login), sorted into class folders"
            ),
            CLASSNAMES,
        ),
    )

    def make_parts(self) -> Parts:
        """{"train", "test"}."""
        kept = self.folder / "preprocessed.pkl"
        if is_there(kept):
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
        write_pickle(parts, kept, "The list of images")
        return parts

    def relocate(self, part: str, kept: Path, items: list) -> list[Datum]:
        """Items of preprocessed.pkl with paths of this machine: the last three steps are train|val, class, image."""
        where = f"An entry of {part!r} in {kept}"
        return [self.item("/".join(path.split("/")[-3:]), label, name, where) for path, label, name in items]


class ImageNetTest(SplitDataset):
    """Test images in folders that are named like ImageNet's; labels by the sorted folders."""

    test_only = True

    def make_parts(self) -> Parts:
        """{"test"}."""
        path = self.require("classnames.txt", self.image_dir)
        return {"test": list_classes(self.images, "", read_classnames(path), path)}


@DATASET_REGISTRY.register()
class ImageNetV2(SplitDataset):
    """ImageNet's classes photographed anew (Recht et al. 2019).

    Folder k is the class in line k of classnames.txt, both counted from 0.
    """

    dataset_dir = "imagenetv2"
    image_dir = "imagenetv2-matched-frequency-format-val"
    test_only = True
    layout = ("imagenetv2-matched-frequency-format-val/<0 to 999>/*.jpeg", "classnames.txt (ImageNet's)")
    facts = Facts(
        *(1000, 0, 0, 10000),
        licence="MIT",
        homepage="https://github.com/modestyachts/ImageNetV2",
        archives=(Archive("https://s3-us-west-2.amazonaws.com/imagenetv2public/imagenetv2-matched-frequency.tar.gz"),),
        by_hand=(CLASSNAMES,),
    )

    def make_parts(self) -> Parts:
        """{"test"}."""
        names = read_classnames(self.require("classnames.txt", self.image_dir))
        self.require(*(f"{self.image_dir}/{label}" for label in range(len(names))))
        files = list_images(self.images, map(str, range(len(names))))
        return {
            "test": [
                Datum(os.path.join(self.images, folder, image), label, classname=name)
                for label, (folder, name) in enumerate(zip(files, names.values(), strict=True))
                for image in files[folder]
            ]
        }


@DATASET_REGISTRY.register()
class ImageNetSketch(ImageNetTest):
    """Drawings of ImageNet's 1000 classes (Wang et al. 2019)."""

    dataset_dir = "imagenet-sketch"
    layout = ("images/n*/", "classnames.txt (ImageNet's)")
    facts = Facts(
        *(1000, 0, 0, 50889),
        licence="MIT",
        homepage="https://github.com/HaohanWang/ImageNet-Sketch",
        by_hand=(
            ByHand("images", "ImageNet-Sketch.zip, its folder sketch renamed: the home page names the file host"),
            CLASSNAMES,
        ),
    )


@DATASET_REGISTRY.register()
class ImageNetA(ImageNetTest):
    """Photographs of 200 classes of ImageNet that mislead a ResNet-50 (Hendrycks et al. 2021)."""

    dataset_dir = "imagenet-adversarial"
    image_dir = "imagenet-a"
    layout = ("imagenet-a/n*/", "classnames.txt (ImageNet's)")
    facts = Facts(
        *(200, 0, 0, 7500),
        licence="MIT",
        homepage="https://github.com/hendrycks/natural-adv-examples",
        archives=(Archive("https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar"),),
        by_hand=(CLASSNAMES,),
    )


@DATASET_REGISTRY.register()
class ImageNetR(ImageNetTest):
    """200 classes of ImageNet as art, toys, tattoos (Hendrycks et al. 2021)."""

    dataset_dir = "imagenet-rendition"
    image_dir = "imagenet-r"
    layout = ("imagenet-r/n*/", "classnames.txt (ImageNet's)")
    facts = Facts(
        *(200, 0, 0, 30000),
        licence="MIT",
        homepage="https://github.com/hendrycks/imagenet-r",
        archives=(Archive("https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar"),),
        by_hand=(CLASSNAMES,),
    )
