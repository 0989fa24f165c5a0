"""ImageFolder: your own images, a folder per class. No code to write, no list to make."""

import os

from dassl.data.datasets import DATASET_REGISTRY, Datum

from datasets.base import SplitDataset
from datasets.files import is_there, list_folders, list_images, read_mapping, shorten
from datasets.splits import PARTS, Parts, split_by_folder
from promptclip.common.names import nearest, unknown

OURS = ("split_fewshot",)  # folders that are no class


@DATASET_REGISTRY.register()
class ImageFolder(SplitDataset):
    """DATASET.ROOT holds train/<class>/*, test/<class>/* and, if you like, val/<class>/*; or just <class>/*.

    In the second case the images are divided by rule P, and the division is kept in split_zhou_ImageFolder.json.
    Classes are named after their folders, or by classnames.json, {"folder": "class name"}, in DATASET.ROOT.
    Samples of few shots are drawn every time: your folders may change.
    """

    image_dir = ""
    split_file = "split_zhou_ImageFolder.json"
    layout = ("train/<class>/*", "test/<class>/*", "val/<class>/* (optional)", "or only <class>/*")
    keeps_samples = False
    root_is_data = True

    def read(self, save: bool = True) -> Parts:
        """Lists of the folders train, val and test where there are such; else as any data set that is split."""
        there = list_folders(self.folder, OURS)
        given = [part for part in PARTS if part in there]
        if not given:
            return self.read_undivided(there, save)
        if not {"train", "test"} <= set(given):
            raise self.missing(self.folder / ("test" if "train" in given else "train"))
        folders = list_folders(self.folder / "train")
        for other in set(there) - set(PARTS):
            if set(list_folders(self.folder / other)) & set(folders):
                raise ValueError(
                    f"{self.folder / other} has class folders as train has, but would not be used: "
                    f"{unknown('list', other, PARTS)} Rename it, or move it elsewhere."
                )
        names = self.names(folders)
        below = []  # train/cat, train/dog, ...
        for part in given:
            classes = list_folders(self.folder / part)
            strange = set(classes) - set(folders)
            if strange:
                raise ValueError(
                    f"{self.folder / part} has the class folder {min(strange)!r}, {self.folder / 'train'} has not; "
                    "every class needs training images."
                )
            below += [os.path.join(part, folder) for folder in classes]
        labels = {folder: label for label, folder in enumerate(folders)}
        parts: Parts = {part: [] for part in given}
        for path, images in list_images(self.folder, below, tell=save).items():
            part, folder = path.split(os.sep)
            parts[part] += [
                Datum(os.path.join(self.folder, path, image), labels[folder], classname=names[folder])
                for image in images
            ]
        return self.checked(parts, self.folder)

    def read_undivided(self, folders: list[str], save: bool) -> Parts:
        """The split file's lists, which must have a class for every one of `folders`."""
        parts = super().read(save)
        listed = {item.impath[len(str(self.images)) + 1 :].split("/")[0] for items in parts.values() for item in items}
        unlisted = set(folders) - listed
        if unlisted:
            raise ValueError(
                f"{self.folder / self.split_file} was made before there was a class folder {min(unlisted)!r}; "
                "delete that file, and the images are divided anew."
            )
        return parts

    def make_parts(self) -> Parts:
        """Rule P."""
        folders = list_folders(self.folder, OURS)
        if not folders:
            raise self.missing(self.folder / "train")
        return split_by_folder(self.images, self.names(folders), OURS, tell=True)

    def names(self, folders: list[str]) -> dict[str, str]:
        """Class names by folder; ValueError if classnames.json names a folder that is not there, or no name."""
        path = self.folder / "classnames.json"
        given = read_mapping(path) if is_there(path) else {}
        for folder, name in given.items():
            if folder not in folders:
                guess = nearest(folder[:80], folders)
                hint = f"; did you mean {guess!r}?" if guess else "."
                raise ValueError(f"{path} names the class folder {shorten(folder)}, which does not exist{hint}")
            if not name.strip():
                raise ValueError(f"{path} gives {shorten(folder)} an empty name.")
        return {folder: given.get(folder, folder) for folder in folders}
