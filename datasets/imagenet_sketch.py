"""ImageNet-Sketch: drawings of ImageNet's 1000 classes (Wang et al. 2019); for testing only."""

from dassl.data.datasets import DATASET_REGISTRY

from datasets.base import SplitDataset
from datasets.facts import CLASSNAMES, ByHand, Facts
from datasets.imagenet import list_classes, read_classnames
from datasets.splits import Parts


@DATASET_REGISTRY.register()
class ImageNetSketch(SplitDataset):
    """Labels by the sorted class folders, names from ImageNet's classnames.txt."""

    dataset_dir = "imagenet-sketch"
    image_dir = "images"
    test_only = True
    layout = ("images/n*/", "classnames.txt (ImageNet's)")
    facts = Facts(
        *(1000, 0, 0, 50889),
        licence="MIT",
        homepage="https://github.com/HaohanWang/ImageNet-Sketch",
        by_hand=(
            ByHand(
                "images",
                "ImageNet-Sketch.zip, its folder sketch renamed: the home page names the file host",
            ),
            CLASSNAMES,
        ),
    )

    def make_parts(self) -> Parts:
        """{"test"}."""
        path = self.require("classnames.txt", self.image_dir)
        return {"test": list_classes(self.images, "", read_classnames(path), path)}
