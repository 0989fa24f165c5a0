"""What all data sets share, so that a data set's file says only what is particular to it."""

import os
from pathlib import Path
from typing import Any

from dassl.data.datasets import DatasetBase

from datasets.facts import Facts
from datasets.fewshot import few_shot
from datasets.splits import SPLIT_SEED, Parts, check_classes, random_numbers, read_split, save_split
from datasets.subsample import subsample_classes

EMBEDDED = Path(__file__).parent / "embedded"


class SplitDataset(DatasetBase):
    """Lists read from a split file, or made by `make_parts`; then few shots; then all, base or new classes.

    A subclass sets these, and overrides `make_parts` if its lists can be made from what its publisher provides:
    """

    dataset_dir = ""  # folder below DATASET.ROOT
    facts: Facts | None = None  # sizes, licence, sources: for `datasets.prepare`
    image_dir = "images"  # folder in it that all image paths are relative to
    split_file = ""  # split_zhou_<Name>.json; "" if the publisher's own lists are read every time
    layout: tuple[str, ...] = ()  # what must lie in the folder, for the sentence that says something is missing
    embedded = False  # lies in datasets/embedded, used when DATASET.ROOT is ""
    test_only = False  # has a test list only, which is also handed out as train_x
    val_is_test = False  # has no validation list of its own (ImageNet)
    keeps_samples = True  # few-shot samples are kept in split_fewshot/
    root_is_data = False  # the user's own images: another DATASET.ROOT is another data set

    def __init__(self, cfg: Any):
        """Read the data set below cfg.DATASET.ROOT.

        Raises FileNotFoundError or ValueError with a sentence that says what is missing or wrong and what to do.
        """
        self.open(cfg)
        parts = self.read()
        if cfg.DATASET.NUM_SHOTS >= 1 and not self.test_only:
            draw, shots = self.generate_fewshot_dataset, cfg.DATASET.NUM_SHOTS
            parts = few_shot(draw, parts, shots, cfg.SEED, self.cache(), self.images)
        parts = subsample_classes(parts, cfg.DATASET.get("SUBSAMPLE_CLASSES", "all"))
        val = parts["test"] if self.val_is_test else parts.get("val")
        super().__init__(train_x=parts["train"], val=val or None, test=parts["test"])

    def open(self, cfg: Any) -> None:
        """Set `cfg`, `root`, `folder` and `images`; nothing is read yet. Raises FileNotFoundError as `locate`."""
        self.cfg = cfg
        self.root = cfg.DATASET.ROOT
        self.folder = self.locate()
        self.images = self.folder / self.image_dir

    def locate(self) -> Path:
        """The data set's folder, absolute. Raises FileNotFoundError with the expected layout if it is not there."""
        if not self.root and self.embedded:
            return EMBEDDED / self.dataset_dir
        if not self.root:
            raise FileNotFoundError(
                f"{self.name} needs a data root (--root, DATASET.ROOT), the directory that holds it; only the embedded "
                f"EmojiNet and EmojiNetMono do without. {self.expected()}"
            )
        folder = Path(os.path.abspath(os.path.expanduser(self.root))) / self.dataset_dir
        if not folder.is_dir():
            raise self.missing(folder)
        return folder

    @property
    def name(self) -> str:
        """The registered name."""
        return type(self).__name__

    def read(self, save: bool = True) -> Parts:
        """The whole train, val and test lists; made, and saved unless `save` is False, where there is no split file."""
        path = self.folder / self.split_file
        if self.split_file and path.exists():
            parts = self.checked(read_split(path, self.images), path)
            absent = self.absent_image(parts) if save else None
            if absent:  # no error yet: without images, the lists can still be compared with another machine's
                print(f"Warning: {self.missing(absent)}")
            return parts
        with random_numbers(SPLIT_SEED):
            parts = self.checked(self.make_parts(), self.folder)
        absent = self.absent_image(parts) if save else None
        if absent:
            raise self.missing(absent)
        return self.checked(save_split(parts, path, self.images), path) if self.split_file and save else parts

    def checked(self, parts: Parts, source: Path) -> Parts:
        """`parts`; a set that is only tested on gets its test list for training too. See `check_classes`."""
        if self.test_only:
            parts = {"train": parts["test"], "test": parts["test"]}
        check_classes(parts, str(source))
        return parts

    def make_parts(self) -> Parts:
        """Lists made from the publisher's files; a data set that only exists with a split file has none."""
        raise self.missing(self.folder / self.split_file)

    def cache(self) -> Path | None:
        """File of the few-shot sample; None for the embedded sets, which lie in the package and are quick to draw."""
        if not self.keeps_samples or (self.embedded and not self.root):
            return None
        return self.folder / "split_fewshot" / f"shot_{self.cfg.DATASET.NUM_SHOTS}-seed_{self.cfg.SEED}.pkl"

    def absent_image(self, parts: Parts) -> Path | None:
        """The image folder or the first image of a list, if it is not there: told before a backbone is loaded."""
        paths = (self.images, *(Path(items[0].impath) for items in parts.values() if items))
        return next((path for path in paths if not path.exists()), None)

    def require(self, *names: str) -> Path:
        """The first of the files or folders `names` of the data set, all of which must exist (FileNotFoundError)."""
        for name in names:
            if not (self.folder / name).exists():
                raise self.missing(self.folder / name)
        return self.folder / names[0]

    def missing(self, path: Path) -> FileNotFoundError:
        """The error for something that is not there: what, the expected layout, and the next command."""
        return FileNotFoundError(f"{self.name}: there is no {path}. {self.expected()}")

    def expected(self) -> str:
        """The layout in one sentence, and what to do next."""
        root = self.root or "<root>"
        inside = self.layout or tuple(filter(None, (f"{self.image_dir}/", self.split_file)))
        if self.facts:
            then = f"Next: python -m datasets.prepare fetch {self.name} --root {root}"
        elif self.embedded:
            then = "Next: leave --root (DATA) out, and the embedded one is taken."
        else:
            then = "Next: see docs/datasets.md."
        return f"Expected in {os.path.join(root, self.dataset_dir)}: {', '.join(inside)}. {then}"
