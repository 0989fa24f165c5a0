"""ImageList: your own images, wherever they lie below a folder, as listed in a CSV or JSON-lines file."""

import csv
from collections.abc import Iterator
from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY, Datum

from datasets.base import SplitDataset
from datasets.files import parse_json
from datasets.splits import PARTS, Parts, inside, split_classes

FILES = ("images.csv", "images.jsonl")


@DATASET_REGISTRY.register()
class ImageList(SplitDataset):
    """Rows path, class, split (train, val or test; val may be missing), paths below DATASET.ROOT.

    The file is DATASET.LIST (below DATASET.ROOT unless absolute), or images.csv or images.jsonl in DATASET.ROOT.
    CSV has these column names in its first line; a line of JSON lines is {"path": ..., "class": ..., "split": ...}.
    Without any split the images are divided by rule P, the same way every time. Labels follow the sorted class names.
    """

    image_dir = ""
    layout = ("images.csv or images.jsonl (DATASET.LIST names another) with path, class, split", "the images it lists")
    keeps_samples = False
    root_is_data = True

    def make_parts(self) -> Parts:
        """The rows by their split."""
        path = self.find_list()
        rows = [self.check_row(row, f"{path}, line {line}") for line, row in read_rows(path)]
        labels = {name: label for label, name in enumerate(sorted({name for _, name, _ in rows}))}
        divided = {split for _, _, split in rows}
        if "" in divided and divided != {""}:
            raise ValueError(f"{path} gives some images a split and others none; give all of them one, or none.")
        items = [(Datum(image, labels[name], classname=name), split) for image, name, split in rows]
        if divided == {""}:
            classes: dict[int, list[Datum]] = {label: [] for label in labels.values()}
            for item, _ in items:
                classes[item.label].append(item)
            return split_classes(list(classes.values()))
        return {part: [item for item, split in items if split == part] for part in PARTS}

    def find_list(self) -> Path:
        """The list's file. Raises FileNotFoundError if there is none."""
        given = self.cfg.DATASET.get("LIST", "")
        for name in [given] if given else FILES:
            if (self.folder / name).is_file():
                return self.folder / name
        raise self.missing(self.folder / (given or FILES[0]))

    def check_row(self, row: dict, where: str) -> tuple[str, str, str]:
        """(path of the image, class, split) of a row; ValueError, beginning with `where`, if it is not one."""
        values = {}
        for key in ("path", "class", "split"):
            value = row.get(key)
            if value is not None and not isinstance(value, str):
                raise ValueError(f"{where}: {key!r} is {value!r}; it must be a text.")
            values[key] = (value or "").strip()
        for key in ("path", "class"):
            if not values[key]:
                raise ValueError(f"{where}: there is no {key!r}; every image needs path, class and split.")
        if values["split"] not in ("", *PARTS):
            raise ValueError(f"{where}: the split is {values['split']!r}; it must be one of {', '.join(PARTS)}.")
        return inside(values["path"], where, self.images), values["class"], values["split"]


def read_rows(path: Path) -> Iterator[tuple[int, dict]]:
    """(line, row) of a CSV or JSON-lines file; ValueError, naming file and line, if it is neither."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                reader = csv.DictReader(file, skipinitialspace=True)
                columns = [name.strip() for name in reader.fieldnames or []]
                if not {"path", "class"} <= set(columns):
                    found = ", ".join(columns) or "nothing"
                    raise ValueError(f"{path} must begin with the column names path,class,split; it has {found}.")
                reader.fieldnames = columns
                for row in reader:
                    yield reader.line_num, row
            elif path.suffix.lower() in (".jsonl", ".ndjson"):
                for line, text in enumerate(file, start=1):
                    if text.strip():
                        yield line, read_object(text, f"{path}, line {line}")
            else:
                raise ValueError(f"{path} must be a .csv or a .jsonl file.")
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as UTF-8 text with rows ({error}).") from error


def read_object(text: str, where: str) -> dict:
    """A JSON object; ValueError, beginning with `where`, if it is something else."""
    value = parse_json(text, where)
    if not isinstance(value, dict):
        raise ValueError(f'{where}: expected {{"path": ..., "class": ..., "split": ...}}, not {text.strip()[:60]}.')
    return value
