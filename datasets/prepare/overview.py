"""`list`: what there is, how large, under which licence and where from."""

from tabulate import tabulate

from datasets.base import SplitDataset
from datasets.prepare.names import folder_of, known, opened

MINE = {
    "ImageFolder": "your images, a folder a class",
    "ImageList": "your images, as a CSV or JSON-lines file lists them",
}


def overview(root: str) -> str:
    """The table of all data sets; with a `root`, also which have a folder there."""
    rows = [row(name, cls, root) for name, cls in known().items() if name not in MINE]
    headers = ["name", "folder", "classes", "train", "val", "test", "licence", "from"] + (["here"] if root else [])
    mine = "\n".join(f"{name}: {text}" for name, text in MINE.items())
    return f"{tabulate(rows, headers=headers)}\n\n{mine}"


def row(name: str, cls: type[SplitDataset], root: str) -> list[str]:
    """One line of the table."""
    facts = cls.facts
    numbers = (facts.classes, facts.train, facts.val, facts.test) if facts else embedded_sizes(cls)
    sizes = [f"{size:,}" if size else "" for size in numbers]
    here = [("yes" if folder_of(cls, root).is_dir() else "")] if root else []
    licence = facts.licence if facts else "MIT" if cls.embedded else ""
    return [name, cls.dataset_dir, *sizes, licence, source(cls), *here]


def embedded_sizes(cls: type[SplitDataset]) -> tuple[int, ...]:
    """Classes, train, val and test of a data set that lies in the package."""
    parts = opened(cls, "").read()
    train = 0 if cls.test_only else len(parts["train"])
    return len({item.label for item in parts["test"]}), train, len(parts.get("val", ())), len(parts["test"])


def source(cls: type[SplitDataset]) -> str:
    """How one gets it."""
    if cls.embedded:
        return "embedded"
    needed = [item for item in cls.facts.by_hand if not item.optional] if cls.facts else []
    if cls.facts and cls.facts.archives:
        return "fetch" + (f", {', '.join(item.path for item in needed)} by hand" if needed else "")
    return f"by hand: {cls.facts.homepage}" if cls.facts else ""
