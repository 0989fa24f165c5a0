"""ImageFolder: your own images, a folder per class. No code to write, no list to make."""

from dassl.data.datasets import DATASET_REGISTRY, Datum

from datasets.base import SplitDataset
from datasets.files import list_folders, list_images, read_mapping
from datasets.splits import PARTS, Parts, split_by_folder
from promptclip.common.names import nearest


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
        given = [part for part in PARTS if (self.folder / part).is_dir()]
        if not given:
            return self.read_undivided(save)
        if not {"train", "test"} <= set(given):
            absent = self.folder / ("test" if "train" in given else "train")
            raise self.missing(absent)
        folders = list_folders(self.folder / "train")
        names = self.names(folders)
        parts: Parts = {}
        for part in given:
            strange = set(list_folders(self.folder / part)) - set(folders)
            if strange:
                raise ValueError(
                    f"{self.folder / part} has the class folder {min(strange)!r}, {self.folder / 'train'} has not; "
                    "every class needs training images."
                )
            parts[part] = [
                Datum(str(self.folder / part / folder / image), label, classname=names[folder])
                for label, folder in enumerate(folders)
                if (self.folder / part / folder).is_dir()
                for image in list_images(self.folder / part / folder)
            ]
        return self.checked(parts, self.folder)

    def read_undivided(self, save: bool) -> Parts:
        """The split file's lists, which must have a class for every folder."""
        parts = super().read(save)
        listed = {item.impath[len(str(self.images)) + 1 :].split("/")[0] for items in parts.values() for item in items}
        unlisted = set(list_folders(self.folder)) - listed - {"split_fewshot"}
        if unlisted:
            raise ValueError(
                f"{self.folder / self.split_file} was made before there was a class folder {min(unlisted)!r}; "
                "delete that file, and the images are divided anew."
            )
        return parts

    def make_parts(self) -> Parts:
        """Rule P."""
        folders = list_folders(self.folder)
        if not folders:
            raise self.missing(self.folder / "train")
        return split_by_folder(self.images, self.names(folders), ignored=("split_fewshot",))

    def names(self, folders: list[str]) -> dict[str, str]:
        """Class names by folder; ValueError if classnames.json names a folder that is not there, or no name."""
        path = self.folder / "classnames.json"
        given = read_mapping(path) if path.is_file() else {}
        for folder, name in given.items():
            if folder not in folders:
                guess = nearest(folder, folders)
                hint = f"; did you mean {guess!r}?" if guess else "."
                raise ValueError(f"{path} names the class folder {folder!r}, which does not exist{hint}")
            if not name.strip():
                raise ValueError(f"{path} gives {folder!r} an empty name.")
        return {folder: given.get(folder, folder) for folder in folders}
