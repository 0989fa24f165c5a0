"""EuroSAT: satellite images of 10 kinds of land use (Helber et al. 2019)."""

from dassl.data.datasets import DATASET_REGISTRY

from datasets.base import SplitDataset
from datasets.facts import Archive, Facts, published_split
from datasets.splits import Parts, split_by_folder

NAMES = {  # Forest and River are plain enough
    "AnnualCrop": "Annual Crop Land",
    "HerbaceousVegetation": "Herbaceous Vegetation Land",
    "Highway": "Highway or Road",
    "Industrial": "Industrial Buildings",
    "Pasture": "Pasture Land",
    "PermanentCrop": "Permanent Crop Land",
    "Residential": "Residential Buildings",
    "SeaLake": "Sea or Lake",
}


@DATASET_REGISTRY.register()
class EuroSAT(SplitDataset):
    """Split by folder; folder names are spelt out."""

    dataset_dir = "eurosat"
    image_dir = "2750"
    split_file = "split_zhou_EuroSAT.json"
    layout = ("2750/<class>/*.jpg", "split_zhou_EuroSAT.json (made if it is not there)")
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
        by_hand=(published_split("split_zhou_EuroSAT.json", "1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o"),),
    )

    def make_parts(self) -> Parts:
        """Rule P."""
        self.require(self.image_dir)
        return split_by_folder(self.images, NAMES)
