"""Which data sets there are, under which names people look for them, and where they lie."""

from pathlib import Path

from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY
from tabulate import tabulate

import datasets
from datasets.base import SplitDataset
from datasets.registered import extend_cfg
from promptclip.common.names import unknown
from promptclip.common.yaml_file import read_yaml

CONFIGS = Path(datasets.__file__).parents[1] / "configs" / "datasets"
OWN_IMAGES = {
    "ImageFolder": "your images, a folder per class",
    "ImageList": "your images, as a CSV or JSON-lines file lists them",
}


def known() -> dict[str, type[SplitDataset]]:
    """All data sets of this package by registered name."""
    entries = {name: DATASET_REGISTRY.get(name) for name in sorted(DATASET_REGISTRY.registered_names())}
    return {name: cls for name, cls in entries.items() if issubclass(cls, SplitDataset)}


def choose(name: str) -> type[SplitDataset]:
    """The data set of a registered name, a folder, or a yaml file in configs/datasets, in any case.

    Raises KeyError with the nearest registered name.
    """
    entries = known()
    aliases = {cls.dataset_dir.casefold(): registered for registered, cls in entries.items() if cls.dataset_dir}
    aliases |= {path.stem.casefold(): read_yaml(path)["DATASET"]["NAME"] for path in CONFIGS.glob("*.yaml")}
    aliases |= {registered.casefold(): registered for registered in entries}
    registered = aliases.get(name.casefold())
    if registered not in entries:
        raise KeyError(unknown("data set", name, entries))
    return entries[registered]


def opened(cls: type[SplitDataset], root: str) -> SplitDataset:
    """The data set located below `root`, nothing read yet; an embedded one there only if it has a folder there.

    Raises FileNotFoundError with the expected layout.
    """
    cfg = get_cfg_default()
    extend_cfg(cfg)
    embedded = cls.embedded and not (root and folder_of(cls, root).is_dir())
    cfg.DATASET.ROOT = "" if embedded else root
    dataset = cls.__new__(cls)
    dataset.open(cfg)
    return dataset


def folder_of(cls: type[SplitDataset], root: str) -> Path:
    """Where the data set lies, or will lie, below `root`."""
    return Path(root).expanduser().absolute() / cls.dataset_dir


def overview(root: str) -> str:
    """`list`: the table of all data sets; with a `root`, also which have a folder there."""
    rows = [describe(name, cls, root) for name, cls in known().items() if name not in OWN_IMAGES]
    headers = ["name", "folder", "classes", "train", "val", "test", "licence", "from"] + (["here"] if root else [])
    own = "\n".join(f"{name}: {text}" for name, text in OWN_IMAGES.items())
    return f"{tabulate(rows, headers=headers)}\n\n{own}"


def describe(name: str, cls: type[SplitDataset], root: str) -> list[str]:
    """One line of the table."""
    facts = cls.facts
    if facts:
        numbers = (facts.classes, facts.train, facts.val, facts.test)
    else:
        numbers = embedded_sizes(cls) if cls.embedded else (0, 0, 0, 0)
    sizes = [f"{size:,}" if size else "" for size in numbers]
    here = [("yes" if folder_of(cls, root).is_dir() else "")] if root else []
    licence = facts.licence if facts else "MIT" if cls.embedded else ""
    return [name, cls.dataset_dir, *sizes, licence, source(cls), *here]


def embedded_sizes(cls: type[SplitDataset]) -> tuple[int, int, int, int]:
    """Classes, train, val and test of a data set that lies in the package."""
    parts = opened(cls, "").read()
    train = 0 if cls.test_only else len(parts["train"])
    return len({item.label for item in parts["test"]}), train, len(parts.get("val", ())), len(parts["test"])


def source(cls: type[SplitDataset]) -> str:
    """How one gets it."""
    if cls.embedded or cls.facts is None:
        return "embedded" if cls.embedded else ""
    needed = [item.path for item in cls.facts.by_hand if not item.optional]
    if cls.facts.archives:
        return "fetch" + (f", {', '.join(needed)} by hand" if needed else "")
    return f"by hand: {cls.facts.homepage}"
