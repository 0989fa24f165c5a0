"""What a data set is made of: items, and the splits they are in; and the table of data sets."""

import random
from collections import defaultdict
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from dassl.utils import Registry

DATASET_REGISTRY = Registry("DATASET")


def build_dataset(cfg: Any) -> "DatasetBase":
    """Return the data set cfg.DATASET.NAME names. Raises UnknownName (a KeyError) with the nearest name."""
    return DATASET_REGISTRY.build(cfg.DATASET.NAME, cfg, verbose=cfg.VERBOSE)


class Datum:
    """One image: its path, its label, its domain and the name of its class.

    The attributes' names and this module's path are part of the format of few-shot caches, which are pickles.
    """

    impath = property(attrgetter("_impath"), doc="Path of the image file.")
    label = property(attrgetter("_label"), doc="Class, counted from 0.")
    domain = property(attrgetter("_domain"), doc="Domain, counted from 0.")
    classname = property(attrgetter("_classname"), doc="Name of the class.")

    def __init__(self, impath: str = "", label: int = 0, domain: int = 0, classname: str = ""):
        if not isinstance(impath, str):
            raise TypeError(f"The image path of a Datum must be a string, not {type(impath).__name__}.")
        self._impath = impath
        self._label = label
        self._domain = domain
        self._classname = classname

    def __repr__(self) -> str:
        return f"Datum({self._impath!r}, label={self._label}, domain={self._domain}, classname={self._classname!r})"


class DatasetBase:
    """The splits of a data set; subclasses read their files and hand the lists of items to this constructor.

    `train_x` is the labelled training set, `train_u` the unlabelled one. Classes are those of `train_x`.
    """

    dataset_dir = ""  # folder below DATASET.ROOT
    domains: Sequence[str] = ()

    train_x = property(attrgetter("_train_x"), doc="Labelled training items.")
    train_u = property(attrgetter("_train_u"), doc="Unlabelled training items, if any.")
    val = property(attrgetter("_val"), doc="Validation items, if any.")
    test = property(attrgetter("_test"), doc="Test items.")
    lab2cname = property(attrgetter("_lab2cname"), doc="Class name of every label.")
    classnames = property(attrgetter("_classnames"), doc="Class names in the order of their labels.")
    num_classes = property(attrgetter("_num_classes"), doc="The largest label + 1.")

    def __init__(
        self,
        train_x: Sequence[Datum] | None = None,
        train_u: Sequence[Datum] | None = None,
        val: Sequence[Datum] | None = None,
        test: Sequence[Datum] | None = None,
    ):
        self._train_x = train_x
        self._train_u = train_u
        self._val = val
        self._test = test
        self._num_classes = self.get_num_classes(train_x or [])
        self._lab2cname, self._classnames = self.get_lab2cname(train_x or [])

    @staticmethod
    def get_num_classes(data_source: Sequence[Datum]) -> int:
        """Return the largest label + 1, or 0 for no items."""
        return max((item.label for item in data_source), default=-1) + 1

    @staticmethod
    def get_lab2cname(data_source: Sequence[Datum]) -> tuple[dict[int, str], list[str]]:
        """Return the class name of every label that occurs, and these names in the order of their labels."""
        names = dict(sorted({item.label: item.classname for item in data_source}.items()))
        return names, list(names.values())

    @staticmethod
    def split_dataset_by_label(data_source: Sequence[Datum]) -> dict[int, list[Datum]]:
        """Group items by label, labels in the order in which they first appear."""
        groups: dict[int, list[Datum]] = defaultdict(list)
        for item in data_source:
            groups[item.label].append(item)
        return groups

    @staticmethod
    def split_dataset_by_domain(data_source: Sequence[Datum]) -> dict[int, list[Datum]]:
        """Group items by domain, domains in the order in which they first appear."""
        groups: dict[int, list[Datum]] = defaultdict(list)
        for item in data_source:
            groups[item.domain].append(item)
        return groups

    def generate_fewshot_dataset(self, *data_sources: Sequence[Datum], num_shots: int = -1, repeat: bool = False):
        """Draw `num_shots` items per class from every source.

        The draws are those of every published run of CoOp-style code: from Python's global generator, label by label
        in the order of first appearance, with random.sample.

        Args:
            data_sources: lists of items.
            num_shots: items per class; below 1, the input is returned.
            repeat: draw a class that has fewer with repetition, instead of taking all it has.

        Returns:
            A list of items, or for several sources a list of such lists.
        """
        if num_shots < 1:
            return data_sources[0] if len(data_sources) == 1 else data_sources
        print(f"Creating a {num_shots}-shot dataset")
        drawn = []
        for source in data_sources:
            shots: list[Datum] = []
            for items in self.split_dataset_by_label(source).values():
                if len(items) >= num_shots:
                    shots += random.sample(items, num_shots)
                else:
                    shots += random.choices(items, k=num_shots) if repeat else items
            drawn.append(shots)
        return drawn[0] if len(drawn) == 1 else drawn
