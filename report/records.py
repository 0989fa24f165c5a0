"""Find and check the records that runs left behind (`metrics.json`, schema 1 to 3)."""

import shlex
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from promptclip.common.files import read_record_file
from promptclip.common.names import flatten
from promptclip.common.yaml_file import read_yaml
from report import logs, provenance

KINDS = {
    **dict.fromkeys(("trainer", "dataset", "subsample_classes"), str),
    **dict.fromkeys(("mode", "protocol", "source_dataset", "backbone", "experiment"), str),
    **dict.fromkeys(("unsupported", "inference", "selected_on", "backbone_sha256"), str),
    **dict.fromkeys(("seed", "epoch", "shots"), int),
    **dict.fromkeys(("checkpoint", "config"), dict),
    "complete": bool,
}
"""Keys that decide where a run's number goes: one of the wrong type cannot be passed over."""
REQUIRED = ("trainer", "dataset", "subsample_classes", "seed")
ATTRIBUTES = {"subsample_classes": "subset", "source_dataset": "source"}
"""What `RunRecord` calls a key, where it is not the key."""


@dataclass(eq=False)
class RunRecord:
    """One finished run, or one that left a record but did not finish (`complete` False, `accuracy` None).

    Attributes:
        path: its directory.
        dataset: its data set's registered name, or the name of a data set of one's own.
        subset: all, base or new.
        protocol: base2new, cross_dataset or fewshot.
        source: the data set that the evaluated checkpoint was trained on.
        accuracy: in percent.
        checkpoint: what an evaluation read: directory, epoch, sha256.
        backbone: its name; with the beginning of the SHA-256 of its weights where records have others of that name.
        backbone_sha256: of its weights; "" where that is not recorded.
        unsupported: why the method cannot make this evaluation; "" where it can. It has no accuracy then.
        inference: which of several inferences the method used; "" where it has one.
        selected_on: the split (val, test) that something of the model was chosen by; "" where nothing was.
        config: the flattened configuration, {} where none was kept.
        from_log: whether it was read from a log.
        raw: the whole record.
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
    backbone_sha256: str = ""
    experiment: str = ""
    unsupported: str = ""
    inference: str = ""
    selected_on: str = ""
    from_log: bool = False
    checkpoint: dict[str, Any] = field(default_factory=dict, repr=False)
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    raw: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def zero_shot(self) -> bool:
        """Whether the method learns nothing, so that shots and epochs mean nothing to it."""
        return self.trainer.startswith("ZeroshotCLIP")

    @property
    def part(self) -> str:
        """The classes it was tested on: `subset`, or joint where a base-trained model was tested on all of them."""
        return "joint" if (self.subset, self.protocol) == ("all", "base2new") else self.subset

    @property
    def trained_epochs(self) -> int | None:
        """Epochs behind the evaluated weights."""
        last = self.config.get("OPTIM.MAX_EPOCH")
        return self.epoch if self.epoch is not None else last if isinstance(last, int) else None

    @cached_property
    def directory(self) -> Path:
        """`path`, resolved."""
        return self.path.resolve()

    @property
    def command(self) -> str | None:
        """What repeats the run, as it was recorded, for a shell; None if it was not."""
        arguments = self.raw.get("command")
        if not isinstance(arguments, list) or not arguments:
            return None
        command = shlex.join(str(argument) for argument in arguments)
        return f"python {command}" if str(arguments[0]).endswith(".py") else command


def read_records(output: Path) -> list[RunRecord]:
    """All runs below `output` that left a record or a log with a result, in path order, unfinished ones too.

    Records that are damaged are left out and named on stderr; runs that were asked not to test are left out.

    Raises:
        FileNotFoundError: there is nothing at all.
    """
    if not output.is_dir():
        raise FileNotFoundError(f"There is no directory {output}; give the output directory of the runs.")
    files = sorted(output.rglob("metrics.json"))
    records = [record for record in map(read_record, files) if record is not None]
    found = [RunRecord(**facts) for facts in logs.read_logs(output)]
    if not files and not found:
        raise FileNotFoundError(
            f"There is no metrics.json below {output}, and no log.txt with a result: no run has left one there yet."
        )
    records = sorted(records + found, key=lambda record: str(record.path))
    tell_backbones_apart(records)
    provenance.settle(records, output)
    return records


def tell_backbones_apart(records: list[RunRecord]) -> None:
    """Have backbones of one name and several weights (a file that was replaced) stand in rows of their own."""
    weights: dict[str, set[str]] = {}
    for record in records:
        weights.setdefault(record.backbone, set()).update({record.backbone_sha256} - {""})
    for record in records:
        if len(weights[record.backbone]) > 1:
            record.backbone += f" [{record.backbone_sha256[:8] or 'weights not recorded'}]"


def read_record(file: Path) -> RunRecord | None:
    """The record in `file`; None, and a sentence on stderr, if it is of no use."""
    raw = read_json(file)
    fault = faults(raw) if isinstance(raw, dict) else "is damaged"
    if fault:
        print(f"{file} {fault}, left out", file=sys.stderr)
        return None
    complete = raw.get("complete", False)
    if complete and raw["accuracy"] is None and not raw.get("unsupported"):
        return None  # the run was asked not to test
    if not complete:
        print(f"{file.parent} is unfinished, left out", file=sys.stderr)
    known = {ATTRIBUTES.get(key, key): raw[key] for key in KINDS if raw.get(key) is not None}
    known |= {"accuracy": raw["accuracy"] if complete else None, "source": raw.get("source_dataset") or None}
    known |= {"config": configuration(raw, file.parent)}
    return RunRecord(path=file.parent, raw=raw, **known)


def read_json(file: Path) -> Any:
    """What `file` holds; None if it is no JSON or too large for a record."""
    try:
        return printable(read_record_file(file)) if file.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None


def printable(value: Any) -> Any:
    """`value` with \\udc80 and the like spelled out: half a character can be neither printed nor written."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, list):
        return [printable(inner) for inner in value]
    if isinstance(value, dict):
        return {printable(key): printable(inner) for key, inner in value.items()}
    return value


def faults(raw: dict[str, Any]) -> str:
    """What is wrong with a record, to follow its name; "" if nothing is."""
    absent = [key for key in REQUIRED if key not in raw]
    absent += ["accuracy"] if raw.get("complete") and "accuracy" not in raw else []
    if absent:
        return f"lacks {', '.join(absent)}"
    wrong = [key for key, kind in KINDS.items() if type(raw.get(key)) not in (kind, type(None))]
    wrong += [key for key in REQUIRED if raw[key] is None]
    accuracy = raw.get("accuracy")
    if accuracy is not None and not 0 <= (-1 if finite(accuracy) is None else accuracy) <= 100:
        wrong.append("accuracy")
    return f"has an impossible {', '.join(wrong)}" if wrong else ""


def finite(value: Any) -> float | None:
    """`value` if it is a number that can be averaged and drawn, else None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e12 else None


def configuration(raw: dict[str, Any], directory: Path) -> dict[str, Any]:
    """The flattened configuration, from the record or (schema 1) from config.yaml beside it; {} if neither is there."""
    config = raw.get("config")
    if config is None:
        try:
            config = read_yaml(directory / "config.yaml")
        except (OSError, ValueError):
            config = None
    return flatten(config) if isinstance(config, dict) else {}
