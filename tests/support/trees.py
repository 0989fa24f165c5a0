"""Tiny data sets in the real layouts of the fifteen, with what else lies in such folders, for tests.

`plant(name, root)` writes the data set registered under `name` below `root` as its publisher lays it out, without a
split file. Every class has the same number of images, squares of one colour.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

WNIDS = {"n01440764": "tench", "n01443537": "goldfish", "n01484850": "great white shark", "n01491361": "tiger shark"}
NAMES = {  # the class names each tree must lead to, by label
    "Caltech101": ["face", "leopard", "accordion", "airplane"],
    "DescribableTextures": ["banded", "blotchy", "polka-dotted", "zigzagged"],
    "EuroSAT": ["Annual Crop Land", "Forest", "Highway or Road", "Sea or Lake"],
    "Food101": ["apple_pie", "baby_back_ribs", "crème_brûlée", "waffles"],
    "OxfordPets": ["abyssinian", "american_bulldog", "basset_hound", "yorkshire_terrier"],
    "StanfordCars": ["2000 AM General Hummer SUV", "2012 Acura RL Sedan", "1991 Audi V8 Sedan", "2012 BMW X6 SUV"],
    "OxfordFlowers": ["pink primrose", "hard-leaved pocket orchid", "canterbury bells", "sweet pea"],
    "FGVCAircraft": ["707-320", "727-200", "Boeing 717", "Yak-42"],
    "SUN397": ["abbey", "indoor airport", "outdoor apartment_building", "zen_garden"],
    "UCF101": ["Apply_Eye_Makeup", "Apply_Lipstick", "Archery", "Yo_Yo"],
    "ImageNet": list(WNIDS.values()),
    "ImageNetV2": list(WNIDS.values()),
    "ImageNetSketch": list(WNIDS.values()),
    "ImageNetA": ["goldfish", "tiger shark"],
    "ImageNetR": ["goldfish", "tiger shark"],
}
PER_CLASS = 8
PLANTERS: dict[str, Callable[[Path], None]] = {}


def planter(name: str, folder: str) -> Callable:
    """Register a function that fills the data set's folder."""

    def register(function: Callable[[Path], None]) -> Callable:
        PLANTERS[name] = lambda root: function(root / folder)
        return function

    return register


def plant(name: str, root: Path) -> Path:
    """Write the tree of one data set below `root` and return `root`."""
    PLANTERS[name](root)
    return root


def image(path: Path, colour: int = 0) -> None:
    """A small image whose colour depends on a number; its format follows the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 16), (37 * colour % 256, 91 * colour % 256, 53 * colour % 256)).save(path)


def text(path: Path, *lines: str) -> None:
    """A text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def class_folders(folder: Path, names: list[str], suffix: str = ".jpg", count: int = PER_CLASS) -> None:
    """`count` images for every class, in a folder of its name."""
    for colour, name in enumerate(names):
        for number in range(count):
            image(folder / name / f"{name}_{number}{suffix}", colour)


@planter("Caltech101", "caltech-101")
def caltech101(folder: Path) -> None:
    classes = ["Faces", "Faces_easy", "BACKGROUND_Google", "Leopards", "accordion", "airplanes"]
    class_folders(folder / "101_ObjectCategories", classes)
    text(folder / "101_ObjectCategories" / "BACKGROUND_Google" / "tmp", "no image")


@planter("DescribableTextures", "dtd")
def describable_textures(folder: Path) -> None:
    class_folders(folder / "images", NAMES["DescribableTextures"])
    text(folder / "images" / "banded" / ".directory", "[Dolphin]")
    text(folder / "labels" / "train1.txt", "banded/banded_0.jpg")


@planter("EuroSAT", "eurosat")
def eurosat(folder: Path) -> None:
    class_folders(folder / "2750", ["AnnualCrop", "Forest", "Highway", "SeaLake"])


@planter("Food101", "food-101")
def food101(folder: Path) -> None:
    class_folders(folder / "images", NAMES["Food101"])
    text(folder / "meta" / "classes.txt", *NAMES["Food101"])


@planter("OxfordPets", "oxford_pets")
def oxford_pets(folder: Path) -> None:
    breeds = ["Abyssinian", "american_bulldog", "basset_hound", "yorkshire_terrier"]
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for label, breed in enumerate(breeds, start=1):
        for number in range(PER_CLASS):
            image(folder / "images" / f"{breed}_{number}.jpg", label)
            lists["trainval" if number < 5 else "test"].append(f"{breed}_{number} {label} 1 1")
    text(folder / "images" / "Abyssinian_0.mat", "lies there too")
    for name, lines in lists.items():
        text(folder / "annotations" / f"{name}.txt", *lines)


@planter("StanfordCars", "stanford_cars")
def stanford_cars(folder: Path) -> None:
    from scipy.io import savemat

    names = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Audi V8 Sedan 1991", "BMW X6 SUV 2012"]
    (folder / "devkit").mkdir(parents=True)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": np.array([names], dtype=object)})
    for part, file in [("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")]:
        rows = np.empty((1, 4 * PER_CLASS), dtype=[("bbox_x1", object), ("class", object), ("fname", object)])
        for number in range(4 * PER_CLASS):
            rows[0, number] = (1, number % 4 + 1, f"{number + 1:05d}.jpg")
            image(folder / f"cars_{part}" / f"{number + 1:05d}.jpg", number % 4)
        savemat(folder / file, {"annotations": rows})


@planter("OxfordFlowers", "oxford_flowers")
def oxford_flowers(folder: Path) -> None:
    from scipy.io import savemat

    labels = [label for label in (3, 1, 4, 2) for _ in range(PER_CLASS)]  # not in order, as in the real file
    for number, label in enumerate(labels, start=1):
        image(folder / "jpg" / f"image_{number:05d}.jpg", label)
    savemat(folder / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    names = {str(label): name for label, name in enumerate(NAMES["OxfordFlowers"], start=1)}
    (folder / "cat_to_name.json").write_text(json.dumps(names))


@planter("FGVCAircraft", "fgvc_aircraft")
def fgvc_aircraft(folder: Path) -> None:
    text(folder / "variants.txt", *NAMES["FGVCAircraft"])
    for start, part in enumerate(("train", "val", "test")):
        lines = []
        for number in range(4 * 3):
            name = f"{1000000 + 100 * start + number}"
            lines.append(f"{name} {NAMES['FGVCAircraft'][number % 4]}")
            image(folder / "images" / f"{name}.jpg", number % 4)
        text(folder / f"images_variant_{part}.txt", *lines)


@planter("SUN397", "sun397")
def sun397(folder: Path) -> None:
    classes = ["/a/abbey", "/a/airport/indoor", "/a/apartment_building/outdoor", "/z/zen_garden"]
    text(folder / "ClassName.txt", *classes)
    for part, count in (("Training", 5), ("Testing", 3)):
        paths = [f"{name}/sun_{part}_{number}.jpg" for name in classes for number in range(count)]
        text(folder / f"{part}_01.txt", *paths)
        for path in paths:
            image(folder / "SUN397" / path[1:], len(path))


@planter("UCF101", "ucf101")
def ucf101(folder: Path) -> None:
    actions = ["ApplyEyeMakeup", "ApplyLipstick", "Archery", "YoYo"]
    lists = folder / "ucfTrainTestlist"
    text(lists / "classInd.txt", *(f"{label} {action}" for label, action in enumerate(actions, start=1)))
    for part, count in (("train", 5), ("test", 3)):
        lines = []
        for label, action in enumerate(actions, start=1):
            for number in range(count):
                video = f"v_{action}_{part}_g{number:02d}"
                lines.append(f"{action}/{video}.avi" + (f" {label}" if part == "train" else ""))
                image(folder / "UCF-101-midframes" / NAMES["UCF101"][label - 1] / f"{video}.jpg", label)
        text(lists / f"{part}list01.txt", *lines)


def classnames(folder: Path) -> None:
    """ImageNet's table of class names."""
    text(folder / "classnames.txt", *(f"{wnid} {name}" for wnid, name in WNIDS.items()))


@planter("ImageNet", "imagenet")
def imagenet(folder: Path) -> None:
    classnames(folder)
    class_folders(folder / "images" / "train", list(WNIDS), ".JPEG")
    class_folders(folder / "images" / "val", list(WNIDS), ".JPEG", count=3)


@planter("ImageNetV2", "imagenetv2")
def imagenetv2(folder: Path) -> None:
    classnames(folder)
    class_folders(folder / "imagenetv2-matched-frequency-format-val", ["0", "1", "2", "3"], ".jpeg", count=3)


@planter("ImageNetSketch", "imagenet-sketch")
def imagenet_sketch(folder: Path) -> None:
    classnames(folder)
    class_folders(folder / "images", list(WNIDS), ".JPEG", count=3)


@planter("ImageNetA", "imagenet-adversarial")
def imagenet_a(folder: Path) -> None:
    classnames(folder)
    class_folders(folder / "imagenet-a", ["n01491361", "n01443537"], count=3)
    text(folder / "imagenet-a" / "README.txt", "no class")


@planter("ImageNetR", "imagenet-rendition")
def imagenet_r(folder: Path) -> None:
    classnames(folder)
    class_folders(folder / "imagenet-r", ["n01491361", "n01443537"], count=3)
    text(folder / "imagenet-r" / "README.txt", "no class")
