"""ImageNetV2: ImageNet's classes photographed anew (Recht et al. 2019); for testing only."""

from dassl.data.datasets import DATASET_REGISTRY, Datum

from datasets.base import SplitDataset
from datasets.facts import CLASSNAMES, Archive, Facts
from datasets.files import list_images
from datasets.imagenet import read_classnames
from datasets.splits import Parts


@DATASET_REGISTRY.register()
class ImageNetV2(SplitDataset):
    """Folder k is the class in line k of classnames.txt, both counted from 0."""

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
        return {
            "test": [
                Datum(str(self.images / str(label) / image), label, classname=name)
                for label, name in enumerate(names.values())
                for image in list_images(self.images / str(label))
            ]
        }
