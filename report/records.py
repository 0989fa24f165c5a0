"""Find the records that runs left behind (`metrics.json`, schema 1 and 2) and the logs of the family's repositories."""

import json
import math
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptclip.common.names import flatten
from promptclip.common.yaml_file import read_yaml
from report import logs

NEEDED = ("trainer", "dataset", "subsample_classes", "seed", "accuracy")
LARGEST = 100_000_000
"""Bytes of a record; one of ImageNet has some hundred thousand."""


@dataclass
class Record:
    """One finished run, or one that left a record but did not finish (`complete` False, `accuracy` None).

    Attributes: `path` its directory; `subset` all, base or new; `protocol` base2new, cross_dataset or fewshot; `source`
    the data set that the evaluated checkpoint was trained on; `accuracy` in percent; `config` the flattened
    configuration, {} where none was kept; `from_log` whether it was read from a log; `raw` the whole record.
    """

    path: Path
    trainer: str
    dataset: str
    subset: str
    seed: int
    accuracy: float | None
    complete: bool = True
    mode: str = ""
    protocol: str = ""
    source: str | None = None
    epoch: int | None = None
    shots: int | None = None
    backbone: str = ""
    experiment: str = ""
    from_log: bool = False
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    raw: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def zero_shot(self) -> bool:
        """Whether the method learns nothing, so that shots and epochs mean nothing to it."""
        return self.trainer.startswith("ZeroshotCLIP")

    @property
    def command(self) -> str | None:
        """What repeats the run, as it was recorded; None if it was not."""
        words = self.raw.get("command")
        return quoted(words) if isinstance(words, list) and words else None


def quoted(words: list[Any]) -> str:
    """A command line that a shell reads as `words`; python comes first where a file of ours does."""
    command = shlex.join(str(word) for word in words)
    return f"python {command}" if str(words[0]).endswith(".py") else command


def read_records(output: Path) -> list[Record]:
    """All records and foreign logs below `output`, in path order, unfinished ones too; those that are damaged, or were
    asked not to test, are left out and named on stderr.

    Raises FileNotFoundError if there is nothing at all.
    """
    if not output.is_dir():
        raise FileNotFoundError(f"There is no directory {output}; give the output directory of the runs.")
    files = sorted(output.rglob("metrics.json"))
    records = [record for record in map(read_record, files) if record is not None]
    found = [Record(**facts) for facts in logs.read_logs(output)]
    if not files and not found:
        raise FileNotFoundError(
            f"There is no metrics.json below {output}, and no log.txt with a result: no run has left one there yet."
        )
    records = sorted(records + found, key=lambda record: str(record.path))
    settle_protocols(records)
    return records


def read_record(file: Path) -> Record | None:
    """The record in `file`; None, and a line on stderr, if it is of no use."""
    raw = read_json(file)
    fault = "is damaged" if not isinstance(raw, dict) else faults(raw)
    if fault:
        print(f"{file} {fault}, left out", file=sys.stderr)
        return None
    complete = bool(raw.get("complete"))
    if complete and raw["accuracy"] is None:
        return None  # the run was asked not to test
    if not complete:
        print(f"{file.parent} is unfinished, left out", file=sys.stderr)
    return Record(
        path=file.parent,
        trainer=raw["trainer"],
        dataset=raw["dataset"],
        subset=raw["subsample_classes"],
        seed=raw["seed"],
        accuracy=raw.get("accuracy") if complete else None,
        complete=complete,
        mode=text(raw.get("mode")),
        protocol=text(raw.get("protocol")),
        source=text(raw.get("source_dataset")) or None,
        epoch=number(raw.get("epoch")),
        shots=number(raw.get("shots")),
        backbone=text(raw.get("backbone")),
        experiment=text(raw.get("experiment")),
        config=configuration(raw, file.parent),
        raw=raw,
    )


def read_json(file: Path) -> Any:
    """What `file` holds; None if it is no JSON or too large for a record."""
    try:
        if file.stat().st_size > LARGEST:
            return None
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def faults(raw: dict[str, Any]) -> str:
    """What is wrong with a record, to follow its name; "" if nothing is."""
    needed = [key for key in NEEDED if key != "accuracy" or raw.get("complete")]
    absent = [key for key in needed if key not in raw]
    if absent:
        return f"lacks {', '.join(absent)}"
    kinds = {"trainer": str, "dataset": str, "subsample_classes": str, "seed": int}
    wrong = [key for key, kind in kinds.items() if not isinstance(raw[key], kind) or isinstance(raw[key], bool)]
    accuracy = raw.get("accuracy")
    if accuracy is not None and not 0 <= (-1 if finite(accuracy) is None else accuracy) <= 100:
        wrong.append("accuracy")
    return f"has an impossible {', '.join(wrong)}" if wrong else ""


def text(value: Any) -> str:
    """`value` if it is a text, else ""."""
    return value if isinstance(value, str) else ""


def number(value: Any) -> int | None:
    """`value` if it is a whole number, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def finite(value: Any) -> float | None:
    """`value` if it is a finite number, else None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def configuration(raw: dict[str, Any], directory: Path) -> dict[str, Any]:
    """The flattened configuration, from the record or (schema 1) from config.yaml beside it; {} if neither is there."""
    config = raw.get("config")
    if not isinstance(config, dict):
        try:
            config = read_yaml(directory / "config.yaml")
        except (OSError, ValueError):
            config = None
    return flatten(config) if isinstance(config, dict) else {}


def settle_protocols(records: list[Record]) -> None:
    """Fill in `protocol` and `source` where a record (schema 1) or a log does not say.

    The source of an evaluation on all classes is the data set of the training whose directory its checkpoint is in.
    """
    trainings = {record.path.resolve(): record.dataset for record in records if record.mode == "train"}
    for record in records:
        if record.protocol:
            continue
        if record.subset in ("base", "new"):
            record.protocol = "base2new"
            continue
        record.source = record.source or source_of(record, trainings)
        other = record.mode == "eval" and record.source not in (None, record.dataset)
        record.protocol = "cross_dataset" if other else "fewshot"


def source_of(record: Record, trainings: dict[Path, str]) -> str | None:
    """The data set behind an evaluation's checkpoint, by the end of its path: output trees get moved."""
    checkpoint = record.raw.get("checkpoint")
    directory = text(checkpoint.get("directory")) if isinstance(checkpoint, dict) else ""
    ending = Path(directory).parts[-4:]  # <dataset>/<Trainer>/<config>/seed<k>
    matches = {dataset for path, dataset in trainings.items() if ending and path.parts[-len(ending) :] == ending}
    return matches.pop() if len(matches) == 1 else None
