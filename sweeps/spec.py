"""The specification of a sweep: a yaml file, or that file with some of its keys changed on the command line.

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
SUBSETS = ("base", "new")
SINGULAR = {
    "trainer": "trainers",
    "config": "configs",
    "dataset": "datasets",
    "protocol": "protocols",
    "seed": "seeds",
    "subset": "subsets",
}
USUAL: dict[str, Any] = {
    "trainers": [],
    "configs": [None],
    "datasets": [],
    "protocols": ["base2new"],
    "source": None,
    "seeds": [1, 2, 3],
    "subsets": list(SUBSETS),
    "epochs": [None],
    "shots": [16],
    "set": {},
    "label": None,
    "tag": None,
}
LISTS = frozenset(key for key, value in USUAL.items() if isinstance(value, list))
WHOLE = frozenset({"seeds", "epochs", "shots"})  # lists of whole numbers
OF_SWEEP = frozenset({"name", "rows"})


@dataclass(frozen=True)
class Row:
    """One line of a table: a method with one configuration, over data sets and seeds.

    `config` is None for the data set's usual one, `epochs` None for the yaml's; `options` are the KEY VALUE pairs;
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
    if Path(name).is_file():
        return Path(name)
    stem = name.removesuffix(".yaml")
    if stem in ready:
        return ready[stem]
    raise FileNotFoundError(unknown("file, nor specification in sweeps/specs/,", name, ready))


def read_spec(path: Path, changes: list[str] = ()) -> dict[str, Any]:
    """What the file says, with `KEY=VALUE` changes applied, as plain data; `name` is the file's unless it has one.

    A change of an upper-case key (`OPTIM.LR=0.001`) goes to `set`, for all rows; one of a key of the specification
    replaces it in all rows. Raises ValueError in one sentence if it cannot be understood.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold keys such as `trainers: [CoOp]` and `datasets: [emojinet]`.")
    content.setdefault("name", path.stem if path.parent.name != "demo" else f"demo_{path.stem}")
    for change in changes:
        apply_change(content, change)
    return content


def apply_change(content: dict[str, Any], change: str) -> None:
    """Apply one `KEY=VALUE`; a value with commas is a list."""
    key, equals, text = change.partition("=")
    if not equals:
        raise ValueError(f"{change!r} is not KEY=VALUE, such as seeds=1,2 or OPTIM.LR=0.001.")
    value = read_value(text)
    rows = content.get("rows")
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if "." in key or key.isupper():
        section = content.get("set") or {}
        if not isinstance(section, dict):
            raise ValueError("set must hold KEY: VALUE pairs.")
        content["set"] = section | {key: value}
        for row in rows:
            if isinstance(row.get("set"), dict):
                row["set"].pop(key, None)
        return
    key = plural(key, f"in {change!r}", frozenset(USUAL) | {"name"})
    for part in (content, *rows):
        for one in [one for one in part if SINGULAR.get(one, one) == key]:
            del part[one]
    content[key] = value


def read_value(text: str) -> Any:
    """A value from the command line: yaml, or a list where it has commas outside brackets."""
    try:
        if "," in text and text[:1] not in "[{(\"'":
            return [yaml.safe_load(part) for part in text.split(",")]
        return "" if text == "" else yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"The value {text!r} cannot be read: {' '.join(str(error).split())[:200]}") from error


def plural(key: Any, where: str, known: frozenset[str]) -> str:
    """The key's name here (`trainers` for `trainer`); raises ValueError with the nearest one if there is none."""
    key = SINGULAR.get(key, key)
    if key not in known:
        guess = nearest(str(key), known | SINGULAR.keys())
        hint = f"did you mean {guess!r}? " if guess else ""
        raise ValueError(f"There is no key {key!r} {where}: {hint}known are {', '.join(sorted(known))}.")
    return key


def rows_of(content: Mapping[str, Any]) -> list[Row]:
    """The rows of a specification. Raises ValueError, with the nearest valid name, for what is not known."""
    where = f"in the specification {content.get('name')}"
    if not isinstance(content.get("name"), str) or "/" in content["name"] or content["name"].startswith("."):
        raise ValueError(f"name is {content.get('name')!r} {where}; it must be one word that can name a file.")
    common = understood({key: value for key, value in content.items() if key not in OF_SWEEP}, where, OF_SWEEP)
    given = content.get("rows", [{}])
    if not isinstance(given, list) or not given or not all(isinstance(row, dict) for row in given):
        raise ValueError(f"rows {where} must be a list of rows, such as `- {{label: CoOp, trainer: CoOp}}`.")
    rows = []
    for number, own in enumerate(given, 1):
        own = understood(own, f"in row {number} of {content['name']}")
        merged = USUAL | common | own
        merged["set"] = {**common.get("set", {}), **own.get("set", {})}
        rows += expand(merged, f"row {number} of {content['name']}")
    labels = [row.label for row in rows]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ValueError(f"Two rows {where} are called {twice!r}; give each a label of its own.")
    return rows


def understood(part: Mapping[str, Any], where: str, also: frozenset[str] = frozenset()) -> dict[str, Any]:
    """`part` with every key under its plural name and every list a list, checked."""
    result = {}
    for key, value in part.items():
        name = plural(key, where, frozenset(USUAL) | also)
        if name in result:
            raise ValueError(f"{name} is given twice {where}.")
        if name in LISTS:
            value = value if isinstance(value, list) else [value]
        if name in WHOLE and not all(type(one) is int or one is None and name == "epochs" for one in value):
            raise ValueError(f"{name} is {value} {where}; it must hold whole numbers.")
        if name in ("label", "source", "tag") and not isinstance(value, str | None):
            raise ValueError(f"{name} is {value!r} {where}; it must be text.")
        if name == "set" and not (isinstance(value, dict) and all(isinstance(one, str) for one in value)):
            raise ValueError(f"set {where} must hold KEY: VALUE pairs, such as `OPTIM.LR: 0.001`.")
        for kind, known in (("protocols", PROTOCOLS), ("subsets", SUBSETS)):
            for one in value if name == kind else ():
                if one not in known:
                    raise ValueError(unknown(f"{kind[:-1]} {where},", str(one), known))
        result[name] = value
    return result


def expand(row: dict[str, Any], where: str) -> list[Row]:
    """The rows that a row with lists of trainers, configurations, epochs, shots or values stands for."""
    for key in ("trainers", "datasets"):
        if not row[key] or not all(isinstance(one, str) for one in row[key]):
            raise ValueError(f"{where} names no {key}; add `{key}: [...]` to it or to the top of the file.")
    settings = {key: value if isinstance(value, list) else [value] for key, value in row["set"].items()}
    axes = {"trainers": row["trainers"], "configs": row["configs"], "epochs": row["epochs"], "shots": row["shots"]}
    axes |= settings
    rows = []
    for values in product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        trainer, config, epochs, shots = (chosen[key] for key in ("trainers", "configs", "epochs", "shots"))
        options = tuple((key, chosen[key]) for key in settings)
        varied = {
            "trainers": row["label"] and trainer,
            "configs": config,
            "epochs": f"{epochs} epochs" if epochs else None,
            "shots": f"{shots} shot{'s' if shots != 1 else ''}",
        } | {key: f"{key.rpartition('.')[2]} {value}" for key, value in options}
        parts = [row["label"] or trainer, *(varied[key] for key in axes if len(axes[key]) > 1)]
        rows.append(
            Row(
                label=", ".join(part for part in parts if part),
                trainer=trainer,
                config=config,
                epochs=epochs,
                shots=shots,
                options=options,
                tag=row["tag"],
                **{key: tuple(row[key]) for key in ("datasets", "protocols", "seeds", "subsets")},
                source=row["source"],
            )
        )
    return rows
