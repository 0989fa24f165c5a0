"""FGVCAircraft: 100 variants of aircraft (Maji et al. 2013)."""

import os

from dassl.data.datasets import DATASET_REGISTRY, Datum

from datasets.base import SplitDataset
from datasets.facts import Archive, Facts
from datasets.splits import PARTS, Parts, inside
from datasets.tables import lookup, read_lines, read_pairs


@DATASET_REGISTRY.register()
class FGVCAircraft(SplitDataset):
    """The publisher's own three lists."""

    dataset_dir = "fgvc_aircraft"
    layout = (
        "images/*.jpg",
        "variants.txt",
        "images_variant_{train,val,test}.txt",
    )
    facts = Facts(
        *(100, 3334, 3333, 3333),
        licence="non-commercial research",
        homepage="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
        archives=(
            Archive(
                "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",
                strip="fgvc-aircraft-2013b/data",
            ),
        ),
    )

    def make_parts(self) -> Parts:
        """Lines "1025794 707-320": image and variant; variants.txt gives their order."""
        variants = self.require("variants.txt")
        labels = {name: label for label, name in enumerate(read_lines(variants))}
        parts: Parts = {}
        for part in PARTS:
            path = self.require(f"images_variant_{part}.txt")
            parts[part] = [
                Datum(
                    inside(f"{image}.jpg", os.fspath(path), self.images),
                    lookup(labels, name, variants),
                    classname=name,
                )
                for image, name in read_pairs(path)
            ]
        return parts
