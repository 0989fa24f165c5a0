"""Published data sets that lie in one folder per class: Caltech101, DescribableTextures, EuroSAT, Food101."""

from collections.abc import Mapping

from dassl.data.datasets import DATASET_REGISTRY

from datasets.base import Archive, Facts, SplitDataset
from datasets.splits import Parts, split_by_folder


class ClassFolders(SplitDataset):
    """Images in a folder per class, divided by rule P where there is no split file."""

    names: Mapping[str, str] = {}  # class names that differ from their folder's
    ignored: tuple[str, ...] = ()  # folders that are no class

    def make_parts(self) -> Parts:
        """Rule P."""
        self.require(self.image_dir)
        return split_by_folder(self.images, self.names, self.ignored)


@DATASET_REGISTRY.register()
class Caltech101(ClassFolders):
    """100 kinds of things (Fei-Fei et al. 2004)."""

    dataset_dir = "caltech-101"
    image_dir = "101_ObjectCategories"
    split_file = "split_zhou_Caltech101.json"
    layout = ("101_ObjectCategories/<class>/*.jpg",)
    names = {"airplanes": "airplane", "Faces": "face", "Leopards": "leopard", "Motorbikes": "motorbike"}
    ignored = ("BACKGROUND_Google", "Faces_easy")  # no class, and Faces once more
    facts = Facts(
        *(100, 4128, 1649, 2465),
        licence="CC BY 4.0",
        homepage="https://data.caltech.edu/records/mzrjq-6wc02",
        archives=(
            Archive(
                "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
                md5="3138e1922a9193bfa496528edbbc45d0",
                inner="caltech-101/101_ObjectCategories.tar.gz",
            ),
        ),
        split="1hyarUivQE36mY6jSomru6Fjd-JzwcCzN",
    )


@DATASET_REGISTRY.register()
class DescribableTextures(ClassFolders):
    """DTD: 47 kinds of texture (Cimpoi et al. 2014)."""

    dataset_dir = "dtd"
    split_file = "split_zhou_DescribableTextures.json"
    layout = ("images/<class>/*.jpg",)
    facts = Facts(
        *(47, 2820, 1128, 1692),
        licence="research",
        homepage="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        archives=(
            Archive(
                "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
                md5="fff73e5086ae6bdbea199a49dfb8a4c1",
                strip="dtd",
            ),
        ),
        split="1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x",
    )


@DATASET_REGISTRY.register()
class EuroSAT(ClassFolders):
    """Satellite images of 10 kinds of land use (Helber et al. 2019); folder names are spelt out."""

    dataset_dir = "eurosat"
    image_dir = "2750"
    split_file = "split_zhou_EuroSAT.json"
    layout = ("2750/<class>/*.jpg",)
    names = {  # Forest and River are plain enough
        "AnnualCrop": "Annual Crop Land",
        "HerbaceousVegetation": "Herbaceous Vegetation Land",
        "Highway": "Highway or Road",
        "Industrial": "Industrial Buildings",
        "Pasture": "Pasture Land",
        "PermanentCrop": "Permanent Crop Land",
        "Residential": "Residential Buildings",
        "SeaLake": "Sea or Lake",
    }
    facts = Facts(
        *(10, 13500, 5400, 8100),
        licence="MIT",
        homepage="https://github.com/phelber/EuroSAT",
        archives=(
            Archive(
                "https://huggingface.co/datasets/torchgeo/eurosat/resolve/"
                "c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
                md5="c8fa014336c82ac7804f0398fcb19387",
            ),
        ),
        split="1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o",
    )


@DATASET_REGISTRY.register()
class Food101(ClassFolders):
    """101 dishes (Bossard et al. 2014); the publisher's own division is not used."""

    dataset_dir = "food-101"
    split_file = "split_zhou_Food101.json"
    layout = ("images/<class>/*.jpg",)
    facts = Facts(
        *(101, 50500, 20200, 30300),
        licence="research",
        homepage="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        archives=(
            Archive(
                "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
                md5="85eeb15f3717b99a5da872d97d918f87",
                strip="food-101",
            ),
        ),
        split="1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl",
    )
