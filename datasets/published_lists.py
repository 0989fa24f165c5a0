"""Published data sets whose labels stand in lists of their own kind, each read by the code of its class."""

import re

from dassl.data.datasets import DATASET_REGISTRY, Datum

from datasets.base import DRIVE, MIRROR, Archive, ByHand, Facts, SplitDataset
from datasets.files import (
    lookup,
    read_lines,
    read_mapping,
    read_order,
    read_pairs,
    read_whole_number,
    shorten,
)
from datasets.matlab import read_matlab
from datasets.splits import PARTS, Parts, split_classes, split_trainval


class TrainvalAndTest(SplitDataset):
    """A list of images to train on, a fifth of which is set aside for validation (rule T), and one of test images."""

    lists = ("", "")  # files, below the data set's folder

    def make_parts(self) -> Parts:
        """Rule T."""
        trainval, test = self.lists
        train, val = split_trainval(self.read_list(trainval))
        return {"train": train, "val": val, "test": self.read_list(test)}

    def read_list(self, file: str) -> list[Datum]:
        """The items of one of the lists, in its order."""
        raise NotImplementedError


@DATASET_REGISTRY.register()
class OxfordPets(TrainvalAndTest):
    """37 breeds of cats and dogs (Parkhi et al. 2012)."""

    dataset_dir = "oxford_pets"
    split_file = "split_zhou_OxfordPets.json"
    layout = ("images/*.jpg",)
    made_from = "annotations/*.txt"
    lists = ("annotations/trainval.txt", "annotations/test.txt")
    facts = Facts(
        *(37, 2944, 736, 3669),
        licence="CC BY-SA 4.0",
        homepage="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        archives=(
            Archive(
                "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz", md5="5c4f3ee8e5d25df40f4fd59a7f44e54c"
            ),
            Archive(
                "https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",
                md5="95a8c909bbe2e81eed6a22bccdf3f68f",
            ),
        ),
        split="1501r8Ber4nNKvmlFVQZ8SeUHTcdTTEqs",
    )

    def read_list(self, file: str) -> list[Datum]:
        """Lines "Abyssinian_100 1 1 1": image, label from 1, species, breed; the image's name says its class."""
        path = self.require(file)
        items = []
        for image, numbers in read_pairs(path):
            name = "_".join(image.split("_")[:-1]).lower()
            label = read_whole_number(numbers.split()[0], path) - 1
            items.append(self.item(f"{image}.jpg", label, name, path))
        return items


@DATASET_REGISTRY.register()
class StanfordCars(TrainvalAndTest):
    """196 models of cars (Krause et al. 2013)."""

    dataset_dir = "stanford_cars"
    image_dir = ""  # the two folders of images are part of the paths in the split file
    split_file = "split_zhou_StanfordCars.json"
    layout = ("cars_train/*.jpg", "cars_test/*.jpg")
    made_from = "devkit/*.mat and cars_test_annos_withlabels.mat"
    lists = ("devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat")
    facts = Facts(
        *(196, 6509, 1635, 8041),
        licence="non-commercial research",
        homepage="https://github.com/pytorch/vision/issues/7545",  # the publisher's host is gone
        by_hand=(
            ByHand(
                "cars_train",
                "cars_train.tgz, unpacked; the publisher's host is gone: look at "
                f"https://github.com/pytorch/vision/issues/7545 and {MIRROR}",
            ),
            ByHand("cars_test", "cars_test.tgz, unpacked: as above"),
            ByHand("devkit", "car_devkit.tgz, unpacked: as above; needed only to make a split", optional=True),
            ByHand("cars_test_annos_withlabels.mat", "as above; needed only to make a split", optional=True),
        ),
        split="1ObCFbaAgVu0I-k_Au-gIUcefirdAuizT",
    )

    def read_list(self, file: str) -> list[Datum]:
        """File names and labels from 1; the year of "AM General Hummer SUV 2000" is put first."""
        path, meta = self.require(file), self.require("devkit/cars_meta.mat")
        folder = "cars_train" if "train" in file else "cars_test"
        names = [str(name).split(" ") for name in read_matlab(meta, "class_names")]
        items = []
        for row in read_matlab(path, "annotations"):
            image, (number,) = str(row["fname"]), row["class"]
            if number not in range(1, len(names) + 1):
                raise ValueError(f"{path} has the label {shorten(number)}, but {meta} names {len(names)} classes.")
            label = number - 1
            name = " ".join([names[label][-1], *names[label][:-1]])
            items.append(self.item(f"{folder}/{image}", label, name, path))
        return items


@DATASET_REGISTRY.register()
class SUN397(TrainvalAndTest):
    """397 kinds of scenes (Xiao et al. 2010), in the publisher's first of ten divisions."""

    dataset_dir = "sun397"
    image_dir = "SUN397"
    split_file = "split_zhou_SUN397.json"
    layout = ("SUN397/<letter>/<class>/*.jpg",)
    made_from = "ClassName.txt, Training_01.txt and Testing_01.txt"
    lists = ("Training_01.txt", "Testing_01.txt")
    facts = Facts(
        *(397, 15880, 3970, 19850),
        licence="research",
        homepage="https://vision.princeton.edu/projects/2010/SUN/",
        archives=(
            Archive(
                "http://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz", md5="8ca2778205c41d23104230ba66911c7a"
            ),
            Archive("https://vision.princeton.edu/projects/2010/SUN/download/Partitions.zip"),
        ),
        split="1y2RD81BYuiyvebdN-JymPfyWYcd8_MUq",
    )

    def read_list(self, file: str) -> list[Datum]:
        """Lines "/a/apartment_building/outdoor/sun_x.jpg", whose class is named "outdoor apartment_building"."""
        path, classes = self.require(file), self.require("ClassName.txt")
        labels = {line.lstrip("/"): label for line, label in read_order(classes).items()}
        items = []
        for line in read_lines(path):
            image = line.lstrip("/")
            folder = image.rpartition("/")[0]
            name = " ".join(reversed(folder.split("/")[1:]))  # without the letter
            items.append(self.item(image, lookup(labels, folder, classes), name, path))
        return items


@DATASET_REGISTRY.register()
class UCF101(TrainvalAndTest):
    """The middle frame of videos of 101 actions (Soomro et al. 2012), in the publisher's first of three divisions."""

    dataset_dir = "ucf101"
    image_dir = "UCF-101-midframes"
    split_file = "split_zhou_UCF101.json"
    layout = ("UCF-101-midframes/<class>/*.jpg",)
    made_from = "ucfTrainTestlist/*.txt"
    lists = ("ucfTrainTestlist/trainlist01.txt", "ucfTrainTestlist/testlist01.txt")
    facts = Facts(
        *(101, 7639, 1898, 3783),
        licence="not stated",
        homepage="https://www.crcv.ucf.edu/data/UCF101.php",
        by_hand=(
            ByHand(
                "UCF-101-midframes",
                f"UCF-101-midframes.zip, unpacked: {DRIVE}/10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O/view",
            ),
            ByHand(
                "ucfTrainTestlist",
                "https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip, unpacked; "
                "needed only to make a split",
                optional=True,
            ),
        ),
        split="1I0S0q91hJfsV9Gf4xDIjgDq4AqBNJb1y",
    )

    def read_list(self, file: str) -> list[Datum]:
        """Lines "ApplyEyeMakeup/v_x.avi 1", whose frame is Apply_Eye_Makeup/v_x.jpg, of the class Apply_Eye_Makeup."""
        path, index = self.require(file), self.require("ucfTrainTestlist/classInd.txt")
        labels = {action: read_whole_number(number, index) - 1 for number, action in read_pairs(index)}
        items = []
        for line in read_lines(path):
            action, _, video = line.split(" ")[0].partition("/")
            name = "_".join(re.findall("[A-Z][^A-Z]*", action))
            frame = f"{name}/{video.replace('.avi', '.jpg')}"
            items.append(self.item(frame, lookup(labels, action, index), name, path))
        return items


@DATASET_REGISTRY.register()
class OxfordFlowers(SplitDataset):
    """Flowers102: 102 kinds of flowers that grow in the United Kingdom (Nilsback and Zisserman 2008)."""

    dataset_dir = "oxford_flowers"
    image_dir = "jpg"
    split_file = "split_zhou_OxfordFlowers.json"
    layout = ("jpg/*.jpg",)
    made_from = "imagelabels.mat and cat_to_name.json"
    facts = Facts(
        *(102, 4093, 1633, 2463),
        licence="not stated",
        homepage="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        archives=(
            Archive(
                "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz",
                md5="52808999861908f626f3c1f4e79d11fa",
            ),
            Archive(
                "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/imagelabels.mat",
                md5="e0620be6f572b9609742df49c70aed4d",
            ),
        ),
        by_hand=(
            ByHand(
                "cat_to_name.json", f"{DRIVE}/1AkcxCXeK_RCGCEC_GvmWxjcjaNhu-at0/view; to make a split", optional=True
            ),
        ),
        split="1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT",
    )

    def make_parts(self) -> Parts:
        """As rule P, classes in the order in which they appear, from every image's label (from 1) and labels' names."""
        labels, names = self.require("imagelabels.mat"), self.require("cat_to_name.json")
        names_by_label = read_mapping(names)
        classes: dict[int, list[Datum]] = {}
        for number, label in enumerate(read_matlab(labels, "labels"), start=1):
            name = lookup(names_by_label, str(label), names)
            item = self.item(f"image_{number:05d}.jpg", label - 1, name, labels)
            classes.setdefault(label, []).append(item)
        return split_classes(list(classes.values()))


@DATASET_REGISTRY.register()
class FGVCAircraft(SplitDataset):
    """100 variants of aircraft (Maji et al. 2013), in the publisher's own three lists."""

    dataset_dir = "fgvc_aircraft"
    layout = ("images/*.jpg", "variants.txt", "images_variant_{train,val,test}.txt")
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
        labels = read_order(variants)
        parts: Parts = {}
        for part in PARTS:
            path = self.require(f"images_variant_{part}.txt")
            parts[part] = [
                self.item(f"{image}.jpg", lookup(labels, name, variants), name, path)
                for image, name in read_pairs(path)
            ]
        return parts
