"""ImageNet-A: photographs of 200 classes of ImageNet that mislead a ResNet-50 (Hendrycks et al. 2021); for tests."""

from dassl.data.datasets import DATASET_REGISTRY

from datasets.base import SplitDataset
from datasets.facts import CLASSNAMES, Archive, Facts
from datasets.imagenet import list_classes, read_classnames
from datasets.splits import Parts


@DATASET_REGISTRY.register()
class ImageNetA(SplitDataset):
    """Labels by the sorted class folders, names from ImageNet's classnames.txt."""

    dataset_dir = "imagenet-adversarial"
    image_dir = "imagenet-a"
    test_only = True
    layout = ("imagenet-a/n*/", "classnames.txt (ImageNet's)")
    facts = Facts(
        *(200, 0, 0, 7500),
        licence="MIT",
        homepage="https://github.com/hendrycks/natural-adv-examples",
        archives=(Archive("https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar"),),
        by_hand=(CLASSNAMES,),
    )

    def make_parts(self) -> Parts:
        """{"test"}."""
        path = self.require("classnames.txt", self.image_dir)
        return {"test": list_classes(self.images, "", read_classnames(path), path)}
