"""What all data sets share, so that a data set's own class says only what is particular to it."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from yacs.config import CfgNode

from datasets.fewshot import match, read_pickle, write_pickle
from datasets.files import first_few, is_there, shorten
from datasets.splits import (
    SPLIT_SEED,
    Parts,
    check_classes,
    check_images,
    check_names,
    inside,
    random_numbers,
    read_split,
    save_split,
    subsample_classes,
)

VAL_SHOTS = 4  # validation images per class, at most: CoOp's choice, and so everybody's
EMBEDDED = Path(__file__).parent / "embedded"
DRIVE = "https://drive.google.com/file/d"  # where CoOp's authors publish files, as <DRIVE>/<identifier>/view
MIRROR = "https://huggingface.co/datasets/zhengli97/prompt_learning_dataset"  # of everything but ImageNet


def extend_cfg(cfg: CfgNode) -> None:
    """Add the configuration keys that data sets have beyond Dassl's own."""
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"  # all, base (first half of the classes) or new (the rest)
    cfg.DATASET.TEMPLATE = ""  # text a class name is put into at {}; "" for the data set's usual one
    cfg.DATASET.LIST = ""  # ImageList only: CSV or JSON-lines file with path, class, split
    cfg.DATASET.LABEL = ""  # your own images only: what records and tables call them; "" for their folder's name


@dataclass(frozen=True)
class Archive:
    """A file with a public address that is unpacked into the data set's folder, or put there if it is no archive."""

    url: str
    md5: str = ""  # as the publisher or torchvision states it; "" where nobody does
    strip: str = ""  # folder in the archive whose content is wanted; "" for all of it
    inner: str = ""  # an archive in the archive that is unpacked in its stead

    @property
    def name(self) -> str:
        """File name of the download."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class ByHand:
    """A file or folder that has to be put in place by hand, and where it is found."""

    path: str  # below the data set's folder
    source: str
    optional: bool = False  # the data set works without it, but differs from what others use


@dataclass(frozen=True)
class Facts:
    """What is known of a published data set beyond its form: sizes (0: no such list), licence, where its files are."""

    classes: int
    train: int
    val: int
    test: int
    licence: str
    homepage: str
    archives: tuple[Archive, ...] = ()
    by_hand: tuple[ByHand, ...] = ()
    split: str = ""  # identifier below DRIVE of CoOp's split file; without that file a split is made, another one


class SplitDataset(DatasetBase):
    """Lists read from a split file, or made by `make_parts`; then few shots; then all, base or new classes.

    A subclass sets these, and overrides `make_parts` if its lists can be made from what its publisher provides:
    """

    dataset_dir = ""  # folder below DATASET.ROOT
    facts: Facts | None = None  # sizes, licence, sources, for `datasets.prepare`: only published data sets have them
    image_dir = "images"  # folder in it that all image paths are relative to
    split_file = ""  # split_zhou_<Name>.json; "" if the publisher's own lists are read every time
    layout: tuple[str, ...] = ()  # what must lie in the folder, for the sentence that says something is missing
    made_from = ""  # other files that a split is made from, for the same sentence
    embedded = False  # lies in datasets/embedded, used when DATASET.ROOT is ""
    test_only = False  # has a test list only, which is also handed out as train_x
    val_is_test = False  # has no validation list of its own (ImageNet)
    keeps_samples = True  # few-shot samples are kept in split_fewshot/
    root_is_data = False  # the user's own images: another DATASET.ROOT is another data set
    has_list = False  # reads the file DATASET.LIST

    def __init__(self, cfg: CfgNode) -> None:
        """Read the data set below cfg.DATASET.ROOT.

        Besides Dassl's attributes it then has `label`, the name that records and tables use, and `short_classes`: the
        number of training images of every class that has fewer than DATASET.NUM_SHOTS, by class name.

        Raises:
            FileNotFoundError, ValueError: with a sentence that says what is missing or wrong and what to do.
        """
        self.open(cfg)
        parts = self.read()
        sampled = cfg.DATASET.NUM_SHOTS >= 1 and not self.test_only
        if sampled:
            parts = self.sample(parts)
        parts = subsample_classes(parts, cfg.DATASET.get("SUBSAMPLE_CLASSES", "all"))
        self.short_classes = count_short(parts["train"], cfg.DATASET.NUM_SHOTS) if sampled else {}
        val = parts["test"] if self.val_is_test else parts.get("val")
        super().__init__(train_x=parts["train"], val=val or None, test=parts["test"])

    def open(self, cfg: CfgNode) -> None:
        """Set `cfg`, `label`, `root`, `folder` and `images`; nothing is read yet.

        Raises:
            FileNotFoundError: as `locate`.
            ValueError: for a DATASET.LABEL that is no name, or a key that this data set has no use for.
        """
        self.cfg = cfg
        self.label = self.label_of(cfg)
        if cfg.DATASET.get("LIST") and not self.has_list:
            raise ValueError(f"{self.name} reads no list; take DATASET.LIST out, or use ImageList.")
        self.root = cfg.DATASET.ROOT
        self.folder = self.locate()
        self.images = self.folder / self.image_dir

    @classmethod
    def label_of(cls, cfg: CfgNode) -> str:
        """What records, tables and paths call the data set: its registered name, or that of one's own images.

        That is DATASET.LABEL, or the name of the folder or the list; never that of a published data set. Raises
        ValueError for a DATASET.LABEL that is none.
        """
        given = cfg.DATASET.get("LABEL", "")
        if not cls.root_is_data:
            if given:
                raise ValueError(f"{cls.__name__} has its name; DATASET.LABEL is for images of your own. Take it out.")
            return cls.__name__
        if given and (given != clean_label(given) or is_taken(given)):
            why = "is another data set" if is_taken(given) else "cannot be the name of a folder"
            raise ValueError(f"DATASET.LABEL must be a name for your images; {shorten(given)} {why}. Choose another.")
        label = given or clean_label(cls.default_label(cfg)) or cls.__name__
        return label if given or not is_taken(label) else f"{label}-{cls.__name__}"

    @classmethod
    def default_label(cls, cfg: CfgNode) -> str:
        """The name of the folder of one's own images."""
        return os.path.basename(absolute(cfg.DATASET.ROOT)) if cfg.DATASET.ROOT else ""

    def locate(self) -> Path:
        """The data set's folder, absolute. Raises FileNotFoundError with the expected layout if it is not there."""
        if not self.root and self.embedded:
            return EMBEDDED / self.dataset_dir
        if not self.root:
            raise FileNotFoundError(
                f"{self.name} needs a data root (--root, DATASET.ROOT), the directory that holds it; only the embedded "
                f"EmojiNet and EmojiNetMono do without. {self.expected()}"
            )
        folder = Path(absolute(self.root)) / self.dataset_dir
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
        if self.split_file and is_there(path):
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
        """`parts`; a set that is only tested on gets its test list for training too.

        Raises as `check_classes`, `check_images` and `check_names`; but that two classes of a published data set have
        one name (two of ImageNet's are missiles), or an image is listed twice to the same end, is as it was published.
        """
        whole = {"test": parts["test"]} if self.test_only else parts
        if self.test_only:
            parts = {"train": parts["test"], "test": parts["test"]}
        check_classes(parts, str(source))
        if self.facts is None:
            check_names(whole, str(source))
        check_images(whole, str(source), strict=self.facts is None, on_disk=self.root_is_data)
        return parts

    def make_parts(self) -> Parts:
        """Lists made from the publisher's files; a data set that only exists with a split file has none."""
        raise self.missing(self.folder / self.split_file)

    def item(self, path: str, label: int, name: str, source: Path | str) -> Datum:
        """The image `path` below the image folder, as `source` lists it; ValueError if it lies elsewhere."""
        return Datum(inside(path, str(source), self.images), label, classname=name)

    def sample(self, parts: Parts) -> Parts:
        """`parts` with train and val reduced to few images per class: the sample that was kept, or a new one.

        The draws are those of CoOp-style code in a run with that seed, whatever was drawn before: from Python's
        generator, train first.
        """
        counts, kept = sample_counts(self.cfg.DATASET.NUM_SHOTS), self.sample_file()
        drawn = {part: parts[part] for part in counts if parts.get(part)}
        if kept and is_there(kept):
            print(f"The few-shot sample is read from {kept}")
            return parts | match(read_pickle(kept), drawn, counts, kept, self.images)
        with random_numbers(self.cfg.SEED):
            for part in drawn:
                drawn[part] = self.generate_fewshot_dataset(drawn[part], num_shots=counts[part])
        if kept:
            write_pickle(drawn, kept, "The few-shot sample")
        return parts | drawn

    def sample_file(self) -> Path | None:
        """Where the sample is kept; None for the embedded sets, which lie in the checkout and are quick to draw."""
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
        inside = list(self.layout or filter(None, [self.image_dir and f"{self.image_dir}/"]))
        if self.split_file:
            made = type(self).make_parts is not SplitDataset.make_parts
            source = f", from {self.made_from}" if self.made_from else ""
            inside.append(self.split_file + (f" (made if it is not there{source})" if made else ""))
        if self.facts:
            then = f"Next: python -m datasets.prepare fetch {self.name} --root {root}"
        elif self.embedded:
            then = "Next: leave --root (DATA) out, and the embedded one is taken."
        else:
            then = "Next: see docs/datasets.md."
        return f"Expected in {os.path.join(root, self.dataset_dir)}: {', '.join(inside)}. {then}"


def absolute(path: str) -> str:
    """The absolute path, with the home directory for a `~` that the shell did not see."""
    return os.path.abspath(os.path.expanduser(path))


def clean_label(text: str) -> str:
    """`text` as the name of a folder: without slashes, control characters and bytes that are no text."""
    text = text.encode(errors="replace").decode()
    return "".join(c if c.isprintable() and c not in "/\\" else "_" for c in text).strip(" .")[:100]


def is_taken(label: str) -> bool:
    """Whether a label is a data set's registered name or folder, but for letter case, hyphens and underscores."""

    def plain(name: str) -> str:
        return name.casefold().replace("-", "").replace("_", "")

    names = DATASET_REGISTRY.registered_names()
    folders = [getattr(DATASET_REGISTRY.get(name), "dataset_dir", "") for name in names]
    return plain(label) in {plain(name) for name in (*names, *folders) if name}


def sample_counts(shots: int) -> dict[str, int]:
    """Images per class in the lists of a few-shot sample."""
    return {"train": shots, "val": min(shots, VAL_SHOTS)}


def count_short(items: list[Datum], shots: int) -> dict[str, int]:
    """{class name: images} of classes that have fewer than `shots`, which is also said in a line."""
    counts, names = Counter(item.label for item in items), {item.label: item.classname for item in items}
    short = {names[label]: count for label, count in sorted(counts.items()) if count < shots}
    if short:
        listed = first_few([f"{shorten(name)} {count}" for name, count in short.items()], 5)
        print(f"{len(short)} of {len(counts)} classes have fewer than {shots} images: {listed}.")
    return short
