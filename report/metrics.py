"""The numbers that tables show besides accuracy: what each is read from, in which columns, and what is better."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from report.records import RunRecord, finite

Reader = Callable[[RunRecord], float | None]


@dataclass(frozen=True)
class Column:
    """A column of a block.

    Attributes:
        title: its heading.
        part: classes that its runs were tested on: base, new or joint.
        read: the number of a run; None if its record has none.
        lower: whether less is better.
        decimals: digits after the point beyond those of percentages.
        statistic: how it follows from single images, see `report.significance`; "" where it does not.
    """

    title: str
    part: str
    read: Reader
    lower: bool = False
    decimals: int = 0
    statistic: str = ""


def number(*keys: str, scale: float = 1.0) -> Reader:
    """Reads a number of a record, by its key or by those that lead to it."""

    def read(record: RunRecord) -> float | None:
        value: Any = record.raw
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        value = finite(value)
        return None if value is None else scale * value

    return read


def halves(title: str, read: Reader, **more: Any) -> list[Column]:
    """A number on base and on new classes."""
    return [Column(f"{title} {part}", part, read, **more) for part in ("base", "new")]


def joint(title: str, *keys: str, **more: Any) -> Column:
    """A number of base and new classes together."""
    return Column(title, "joint", number("joint", *keys), **more)


CALIBRATION = "calibration"
JOINT = "all classes"
DETECTION = "known or unknown"
METRICS: dict[str, tuple[str, list[Column]]] = {
    "ece": (CALIBRATION, halves("ECE", number("ece"), lower=True)),
    "adaptive_ece": (CALIBRATION, halves("adaptive ECE", number("adaptive_ece"), lower=True)),
    "mce": (CALIBRATION, halves("MCE", number("mce"), lower=True)),
    "brier": (CALIBRATION, halves("Brier", number("brier"), lower=True, decimals=2)),
    "nll": (CALIBRATION, halves("NLL", number("nll"), lower=True, decimals=2)),
    "true_probability": (CALIBRATION, halves("p(true)", number("mean_true_probability", scale=100))),
    "joint": (
        JOINT,
        [
            joint("base", "base_accuracy", statistic="joint base"),
            joint("new", "new_accuracy", statistic="joint new"),
            joint("H", "harmonic_mean", statistic="joint H"),
            joint("AUSUC", "ausuc"),
            joint("OpenworldAUC", "openworld_auc"),
        ],
    ),
    "detection": (
        DETECTION,
        [
            joint("AUROC", "detection", "max_probability", "auroc"),
            joint("FPR95", "detection", "max_probability", "fpr95", lower=True),
            joint("AUROC, MCM", "detection", "mcm", "auroc"),
            joint("FPR95, MCM", "detection", "mcm", "fpr95", lower=True),
        ],
    ),
}
"""Name on the command line to the block that the columns stand in, and the columns."""
ALL = ("accuracy", *METRICS)


def parse(text: str) -> tuple[str, ...]:
    """The metrics that a comma-separated list names, "all" for all. Raises ValueError with the known names."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [name for name in names if name not in (*ALL, "all")]
    if unknown or not names:
        raise ValueError(f"There is no metric {', '.join(unknown) or text!r}; known are {', '.join(ALL)}, and all.")
    return ALL if "all" in names else names


def blocks(metrics: tuple[str, ...]) -> dict[str, list[Column]]:
    """Title of each block that `metrics` ask for besides the accuracies, and its columns."""
    found: dict[str, list[Column]] = {}
    for name in metrics:
        if name in METRICS:
            title, columns = METRICS[name]
            found.setdefault(title, []).extend(columns)
    return found
