"""Data sets by the names people use for them."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY

import datasets
from datasets.base import SplitDataset


def known() -> dict[str, type[SplitDataset]]:
    """All data sets of this package by registered name."""
    entries = {name: DATASET_REGISTRY.get(name) for name in sorted(DATASET_REGISTRY.registered_names())}
    return {name: cls for name, cls in entries.items() if issubclass(cls, SplitDataset)}


def choose(name: str) -> type[SplitDataset]:
    """The data set of a registered name, a configuration file's stem or a folder, in any case.

    Raises KeyError with the nearest registered name.
    """
    entries = known()
    for key in (lambda cls: cls.__name__, lambda cls: cls.dataset_dir, lambda cls: cls.__module__.rpartition(".")[2]):
        for cls in entries.values():
            if key(cls).casefold() == name.casefold():
                return cls
    folded = {registered.casefold(): registered for registered in entries}
    guess = get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    hint = f"did you mean {folded[guess[0]]}? " if guess else ""
    raise KeyError(f"There is no data set {name!r}: {hint}known are {', '.join(entries)}.")


def opened(cls: type[SplitDataset], root: str) -> Any:
    """The data set located below `root`, nothing read yet; an embedded one there only if it has a folder there.

    Raises FileNotFoundError with the expected layout.
    """
    cfg = get_cfg_default()
    datasets.extend_cfg(cfg)
    embedded = cls.embedded and not (root and folder_of(cls, root).is_dir())
    cfg.DATASET.ROOT = "" if embedded else root
    dataset = cls.__new__(cls)
    dataset.open(cfg)
    return dataset


def folder_of(cls: type[SplitDataset], root: str) -> Path:
    """Where the data set lies, or will lie, below `root`."""
    return Path(root).expanduser().absolute() / cls.dataset_dir
