"""The specification of a sweep: a yaml file, with some of its keys changed on the command line.

Every key may stand at the top, for all rows, or in a row; docs/sweeps.md lists them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from promptclip.common.names import nearest, unknown
from promptclip.common.yaml_file import read_yaml
from runs.protocols import PROTOCOLS

SPECS = Path(__file__).parent / "specs"
SUBSETS = ("base", "new", "all")
DEFAULTS: dict[str, Any] = {
    "trainers": [],
    "configs": [None],
    "datasets": [],
    "protocols": ["base2new"],
    "source": None,
    "seeds": [1, 2, 3],
    "subsets": ["base", "new"],
    "epochs": [None],
    "shots": [16],
    "set": {},
    "label": None,
    "tag": None,
}
PLURALS = {key.removesuffix("s"): key for key, value in DEFAULTS.items() if isinstance(value, list)}
del PLURALS["epoch"], PLURALS["shot"]  # a number of them


@dataclass(frozen=True)
class SpecRow:
    """One line of a table: a method with one configuration, over data sets and seeds.

    `config` is None for the embedded data sets' own, `epochs` None for the yaml's; `options` are the KEY VALUE pairs;
    `tag` None for one that is made of the options.
    """

    label: str
    trainer: str
    config: str | None
    epochs: int | None
    shots: int
    options: tuple[tuple[str, Any], ...]
    tag: str | None
    datasets: tuple[str, ...]
    source: str | None
    protocols: tuple[str, ...]
    seeds: tuple[int, ...]
    subsets: tuple[str, ...]


def find_spec(name: str) -> Path:
    """The file of a specification: a path, or the name of one in sweeps/specs/ (`table1`, `demo/table1`).

    Raises FileNotFoundError with the nearest name.
    """
    ready = {str(path.relative_to(SPECS).with_suffix("")): path for path in sorted(SPECS.rglob("*.yaml"))}
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if name.removesuffix(".yaml") in ready:
        return ready[name.removesuffix(".yaml")]
    raise FileNotFoundError(unknown("file, nor specification in sweeps/specs/,", name, ready))


def read_spec(path: Path, changes: list[str] = ()) -> dict[str, Any]:
    """What the file says, with keys in their plural form and `KEY=VALUE` changes applied, as plain data.

    `name` is the file's unless it has one. A change of an upper-case key (`OPTIM.LR=0.001`) goes to `set`; one of a key
    of the specification replaces it; both in all rows. `rows=[{trainer: CoOp}]` puts others in their place, which later
    changes change. Raises ValueError in one sentence if it cannot be understood.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold keys such as `trainers: [CoOp]` and `datasets: [emojinet]`.")
    name = content.pop("name", path.stem if path.parent.name != "demo" else f"demo_{path.stem}")
    given = content.pop("rows", [{}])
    top = checked(content, f"in the specification {name}", also=("name", "rows"))
    rows = checked_rows(given, f"in {path}", f"of {name}")
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise ValueError(f"{change!r} is not KEY=VALUE, such as seeds=1,2 or OPTIM.LR=0.001.")
        if key == "name":
            name = text
        elif key == "rows":
            rows = checked_rows(read_value(text), "on the command line", "on the command line")
        elif "." in key or key.isupper():
            top["set"] = top.get("set", {}) | {key: read_value(text)}
            for row in rows:
                row.get("set", {}).pop(key, None)
        else:
            changed = checked({key: read_value(text)}, f"in {change!r}", also=("name", "rows"))
            top |= changed
            for row in rows:
                row.pop(*changed, None)
    if not isinstance(name, str) or not name or "/" in name or name.startswith("."):
        raise ValueError(f"The name of the sweep is {name!r}; it must be one word that can name a file.")
    return {"name": name, **top, "rows": rows}


def checked_rows(rows: Any, where: str, whose: str) -> list[dict[str, Any]]:
    """Rows as `checked`. Raises ValueError."""
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"rows {where} must be a list of rows, such as `- {{label: CoOp, trainer: CoOp}}`.")
    return [checked(row, f"in row {number} {whose}") for number, row in enumerate(rows, 1)]


def read_value(text: str) -> Any:
    """A value from the command line: yaml, or a list where it has commas outside brackets."""
    try:
        if "," in text and text[:1] not in "[{(\"'":
            return [yaml.safe_load(part) for part in text.split(",")]
        return "" if text == "" else yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"The value {text!r} cannot be read: {' '.join(str(error).split())[:200]}") from error


def checked(part: Mapping[str, Any], where: str, also: tuple[str, ...] = ()) -> dict[str, Any]:
    """`part` with every key under its plural name and every list a list. Raises ValueError for what is not valid."""
    result: dict[str, Any] = {}
    for key, value in part.items():
        name = PLURALS.get(key, key)
        if name not in DEFAULTS:
            guess = nearest(str(key), [*DEFAULTS, *PLURALS, *also])
            hint = f"did you mean {guess!r}? " if guess else ""
            raise ValueError(
                f"There is no key {key!r} {where}: {hint}known are {', '.join(sorted([*DEFAULTS, *also]))}."
            )
        if name in result:
            raise ValueError(f"{name} is given twice {where}.")
        if isinstance(DEFAULTS[name], list) and not isinstance(value, list):
            value = [value]
        if name in ("seeds", "epochs", "shots"):
            if not all(type(one) is int or one is None and name == "epochs" for one in value):
                raise ValueError(f"{name} is {value} {where}; it must hold whole numbers.")
        elif name in ("label", "source", "tag"):
            if not isinstance(value, str | None):
                raise ValueError(f"{name} is {value!r} {where}; it must be text.")
        elif name == "set":
            if not (isinstance(value, dict) and all(isinstance(one, str) for one in value)):
                raise ValueError(f"set {where} must hold KEY: VALUE pairs, such as `OPTIM.LR: 0.001`.")
        elif name in ("protocols", "subsets"):
            valid = PROTOCOLS if name == "protocols" else SUBSETS
            for one in value:
                if one not in valid:
                    raise ValueError(unknown(f"{name[:-1]} {where},", str(one), valid))
        result[name] = value
    return result


def rows_of(spec: Mapping[str, Any]) -> list[SpecRow]:
    """The rows of a specification from `read_spec`. Raises ValueError for rows that lack something."""
    common = {key: value for key, value in spec.items() if key not in ("name", "rows")}
    rows: list[SpecRow] = []
    for number, own in enumerate(spec["rows"], 1):
        row = DEFAULTS | common | own
        row["set"] = {**common.get("set", {}), **own.get("set", {})}
        for key in ("trainers", "datasets"):
            if not row[key] or not all(isinstance(one, str) for one in row[key]):
                where = f"row {number} of {spec['name']}"
                raise ValueError(f"{where} names no {key}; add `{key}: [...]` to it or to the top of the file.")
        rows += expand(row)
    labels = [row.label for row in rows]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ValueError(f"Two rows in {spec['name']} are called {twice!r}; give each a label of its own.")
    return rows


def expand(row: dict[str, Any]) -> list[SpecRow]:
    """The rows that a row with lists of trainers, configurations, epochs, shots or values stands for."""
    settings = {key: value if isinstance(value, list) else [value] for key, value in row["set"].items()}
    axes = {key: row[key] for key in ("trainers", "configs", "epochs", "shots")} | settings
    rows = []
    for values in product(*axes.values()):
        trainer, config, epochs, shots, *_ = values
        options = tuple(zip(settings, values[4:], strict=True))
        words = {
            "trainers": row["label"] and trainer,
            "configs": config,
            "epochs": f"{epochs} epochs" if epochs else None,
            "shots": f"{shots} shot{'s' if shots != 1 else ''}",
        } | {key: f"{key.rpartition('.')[2]} {value}" for key, value in options}
        parts = [row["label"] or trainer, *(words[key] for key in axes if len(axes[key]) > 1)]
        shared = {key: tuple(row[key]) for key in ("datasets", "protocols", "seeds", "subsets")}
        label = ", ".join(part for part in parts if part)
        rows.append(SpecRow(label, trainer, config, epochs, shots, options, row["tag"], source=row["source"], **shared))
    return rows
