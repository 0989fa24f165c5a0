"""UCF101: the middle frame of videos of 101 actions (Soomro et al. 2012)."""

import os
import re

from dassl.data.datasets import DATASET_REGISTRY, Datum

from datasets.base import SplitDataset
from datasets.facts import ByHand, Facts, drive, published_split
from datasets.splits import Parts, inside, split_trainval
from datasets.tables import lookup, read_lines, read_pairs, read_whole_number


@DATASET_REGISTRY.register()
class UCF101(SplitDataset):
    """The publisher's first of three divisions, a fifth of its training videos set aside for validation."""

    dataset_dir = "ucf101"
    image_dir = "UCF-101-midframes"
    split_file = "split_zhou_UCF101.json"
    layout = (
        "UCF-101-midframes/<class>/*.jpg",
        "split_zhou_UCF101.json (made if it is not there, from ucfTrainTestlist/*.txt)",
    )
    facts = Facts(
        *(101, 7639, 1898, 3783),
        licence="not stated",
        homepage="https://www.crcv.ucf.edu/data/UCF101.php",
        by_hand=(
            ByHand(
                "UCF-101-midframes", f"UCF-101-midframes.zip, unpacked: {drive('10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O')}"
            ),
            ByHand(
                "ucfTrainTestlist",
                "https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip, unpacked; "
                "needed only to make a split",
                optional=True,
            ),
            published_split("split_zhou_UCF101.json", "1I0S0q91hJfsV9Gf4xDIjgDq4AqBNJb1y"),
        ),
    )

    def make_parts(self) -> Parts:
        """Rule T."""
        train, val = split_trainval(self.read_list("ucfTrainTestlist/trainlist01.txt"))
        return {"train": train, "val": val, "test": self.read_list("ucfTrainTestlist/testlist01.txt")}

    def read_list(self, file: str) -> list[Datum]:
        """Lines "ApplyEyeMakeup/v_x.avi 1", whose frame is Apply_Eye_Makeup/v_x.jpg, of the class Apply_Eye_Makeup."""
        path, index = self.require(file), self.require("ucfTrainTestlist/classInd.txt")
        labels = {action: read_whole_number(number, index) - 1 for number, action in read_pairs(index)}
        items = []
        for line in read_lines(path):
            action, _, video = line.split(" ")[0].partition("/")
            label = lookup(labels, action, index)
            name = "_".join(re.findall("[A-Z][^A-Z]*", action))
            frame = f"{name}/{video.replace('.avi', '.jpg')}"
            items.append(Datum(inside(frame, os.fspath(path), self.images), label, classname=name))
        return items
