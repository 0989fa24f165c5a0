"""ImageNet-R: 200 classes of ImageNet as art, toys, tattoos (Hendrycks et al. 2021); for testing only."""

from dassl.data.datasets import DATASET_REGISTRY

from datasets.base import SplitDataset
from datasets.facts import CLASSNAMES, Archive, Facts
from datasets.imagenet import list_classes, read_classnames
from datasets.splits import Parts


@DATASET_REGISTRY.register()
class ImageNetR(SplitDataset):
    """Labels by the sorted class folders, names from ImageNet's classnames.txt."""

    dataset_dir = "imagenet-rendition"
    image_dir = "imagenet-r"
    test_only = True
    layout = ("imagenet-r/n*/", "classnames.txt (ImageNet's)")
    facts = Facts(
        *(200, 0, 0, 30000),
        licence="MIT",
        homepage="https://github.com/hendrycks/imagenet-r",
        archives=(Archive("https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar"),),
        by_hand=(CLASSNAMES,),
    )

    def make_parts(self) -> Parts:
        """{"test"}."""
        path = self.require("classnames.txt", self.image_dir)
        return {"test": list_classes(self.images, "", read_classnames(path), path)}
