"""ImageList: your own images, wherever they lie below a folder, as listed in a CSV or JSON-lines file."""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY, Datum
from yacs.config import CfgNode

from datasets.base import SplitDataset
from datasets.files import LARGEST, is_there, parse_json, shorten
from datasets.splits import PARTS, Parts, inside, split_classes
from promptclip.common.names import nearest, unknown

FILES = ("images.csv", "images.jsonl")
COLUMNS = ("path", "class", "split")


@DATASET_REGISTRY.register()
class ImageList(SplitDataset):
    """Rows path, class, split (train, val or test; val may be missing), paths below DATASET.ROOT.

    The file is DATASET.LIST (below DATASET.ROOT unless absolute), or images.csv or images.jsonl in DATASET.ROOT.
    CSV has these column names in its first line; a line of JSON lines is {"path": ..., "class": ..., "split": ...}.
    Without a column split the images are divided by rule P, the same way every time. Labels follow the sorted class
    names.
    """

    image_dir = ""
    layout = ("images.csv or images.jsonl (DATASET.LIST names another) with path, class, split", "the images it lists")
    keeps_samples = False
    root_is_data = True
    has_list = True

    @classmethod
    def default_label(cls, cfg: CfgNode) -> str:
        """The name of the list DATASET.LIST without its suffix, or that of the folder."""
        return Path(cfg.DATASET.get("LIST", "")).stem or super().default_label(cfg)

    def make_parts(self) -> Parts:
        """The rows by their split."""
        path = self.find_list()
        rows = [self.check_row(row, f"{path}, line {line}") for line, row in read_rows(path)]
        labels = {name: label for label, name in enumerate(sorted({name for _, name, _ in rows}))}
        divided = {split for _, _, split in rows}
        if None in divided and divided != {None}:
            raise ValueError(f"{path} gives some images a split and others none; give all of them one, or none.")
        items = [(Datum(image, labels[name], classname=name), split) for image, name, split in rows]
        if divided == {None}:
            classes: dict[int, list[Datum]] = {label: [] for label in labels.values()}
            for item, _ in items:
                classes[item.label].append(item)
            return split_classes(list(classes.values()))
        return {part: [item for item, split in items if split == part] for part in PARTS}

    def find_list(self) -> Path:
        """The list's file. Raises FileNotFoundError if there is none."""
        given = os.path.expanduser(self.cfg.DATASET.get("LIST", ""))
        there = [self.folder / name for name in ([given] if given else FILES) if is_there(self.folder / name)]
        if len(there) > 1:
            raise ValueError(f"{self.folder} holds {' and '.join(FILES)}; name the one to read with DATASET.LIST.")
        if not there:
            raise self.missing(self.folder / (given or FILES[0]))
        return there[0]

    def check_row(self, row: dict, where: str) -> tuple[str, str, str | None]:
        """(path of the image, class, split or None) of a row; ValueError, beginning with `where`, if it is not one."""
        for key, value in row.items():
            if not isinstance(value, str) or len(value.strip().splitlines()) > 1 or "\0" in value:
                raise ValueError(f"{where}: {key!r} is {shorten(value)}; it must be a text in one line.")
            if not value.strip():
                raise ValueError(f"{where}: {key!r} is empty; give every image a {key}{_unless(key)}.")
        for key in ("path", "class"):
            if key not in row:
                raise ValueError(f"{where}: there is no {key!r}; every image needs path and class.")
        split = row["split"].strip() if "split" in row else None
        if split not in (None, *PARTS):
            raise ValueError(f"{where}: {unknown('split', split[:80], PARTS)}")
        return inside(row["path"].strip(), where, self.images), row["class"].strip(), split


def _unless(key: str) -> str:
    """The other way out of an empty value."""
    return ", or leave split out of the list to have it divided at random" if key == "split" else ""


def read_rows(path: Path) -> Iterator[tuple[int, dict]]:
    """(line, row) of a CSV or JSON-lines file; ValueError, naming file and line, if it is neither.

    Rows have no other keys than `COLUMNS`: a split under another name would be dropped, and test images trained on.
    """
    kind = path.suffix.lower()
    if kind not in (".csv", ".jsonl", ".ndjson"):
        raise ValueError(f"{path} must be a .csv or a .jsonl file.")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST:,} bytes, which no list of images is.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from (_csv_rows if kind == ".csv" else _json_rows)(file, path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as UTF-8 text with rows ({error}).") from error


def _csv_rows(file: Iterable[str], path: Path) -> Iterator[tuple[int, dict]]:
    """The rows below the line of column names."""
    reader = csv.reader(file, skipinitialspace=True, strict=True)
    columns = [name.strip() for name in next(reader, [])]
    if not {"path", "class"} & set(columns):
        found = ", ".join(columns)[:80] or "nothing"
        raise ValueError(f"{path} must begin with the column names path,class,split; it has {found}.")
    check_columns(columns, str(path))
    for row in reader:
        if not any(field.strip() for field in row):
            continue
        if len(row) != len(columns):
            raise ValueError(
                f"{path}, line {reader.line_num}: it has {len(row)} field(s), where the first line names "
                f"{len(columns)}: {','.join(columns)}. Quote a field that holds a comma."
            )
        yield reader.line_num, dict(zip(columns, row, strict=True))


def _json_rows(file: Iterable[str], path: Path) -> Iterator[tuple[int, dict]]:
    """The objects, one per line."""
    for line, text in enumerate(file, start=1):
        if text.strip():
            where = f"{path}, line {line}"
            value = parse_json(text, where)
            if not isinstance(value, dict):
                form = '{"path": ..., "class": ..., "split": ...}'
                raise ValueError(f"{where}: expected {form}, not {text.strip()[:60]}.")
            check_columns(list(value), where)
            yield line, value


def check_columns(columns: list[str], where: str) -> None:
    """Refuse (ValueError) columns that are not known, or not there, or there twice."""
    for name in columns:
        if name not in COLUMNS:
            absent = [column for column in COLUMNS if column not in columns]
            guess = nearest(name[:80], absent) or (absent[0] if absent else None)
            hint = f"if it is the {guess}, call it {guess!r}; if not, " if guess else ""
            raise ValueError(
                f"{where} has the column {shorten(name)}, which is not known: {hint}take it out. "
                f"Known are {', '.join(COLUMNS)}."
            )
        if columns.count(name) > 1:
            raise ValueError(f"{where} has the column {name!r} twice; take one out.")
    for name in ("path", "class"):
        if name not in columns:
            raise ValueError(f"{where} has no {name!r}; every image needs path and class.")
