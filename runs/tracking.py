"""The record of a finished run in Weights & Biases: `train.py --wandb`, or `python -m runs.tracking RUN` afterwards.

What is logged is what lies in the run's directory; nothing is tracked while it trains, so that no network can cost a
training. WANDB_MODE=offline, WANDB_PROJECT and the rest of W&B's environment work as everywhere.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from promptclip.common.console import steady_streams
from promptclip.common.names import flatten, require

PROJECT = "restore"
"""W&B's project, unless WANDB_PROJECT names one."""
KEPT_WHOLE = ("command", "versions", "classnames", "config", "checkpoint")
"""Keys of a record that are settings or lists, not results."""


def numbers(record: dict[str, Any]) -> dict[str, float]:
    """The results of a record that are numbers, those inside `joint` under dotted names."""
    from runs.record import is_number  # only now: with torch it takes seconds

    flat = flatten({key: value for key, value in record.items() if key not in KEPT_WHOLE})
    return {key: value for key, value in flat.items() if is_number(value)}


def epochs(history: list[dict[str, Any]]) -> list[dict[str, float]]:
    """The numbers of each epoch: losses, what else the method shows, accuracy, learning rate, mean feature shift."""
    from runs.record import is_number

    rows = []
    for entry in history:
        found = {"epoch": entry["epoch"], "lr": entry.get("lr"), "train/accuracy": entry.get("accuracy")}
        for part in ("losses", "other"):
            found |= {f"train/{name}": value for name, value in (entry.get(part) or {}).items()}
        for tower, shift in (entry.get("feature_shift") or {}).items():
            found[f"shift/{tower}"] = sum(shift["mean"]) / len(shift["mean"])
        rows.append({name: value for name, value in found.items() if is_number(value)})
    return rows


def log_run(directory: Path) -> str:
    """Log what lies in a finished run's directory; where it is to be seen.

    Raises:
        FileNotFoundError: there is no record. ValueError: it is damaged, or of an unfinished run.
        ModuleNotFoundError: W&B is not installed.
    """
    from runs.history import read_history
    from runs.record import read_record

    record = read_record(directory)
    if record is None:
        raise FileNotFoundError(f"There is no metrics.json in {directory}; name the output directory of a run.")
    if not record.get("complete"):
        raise ValueError(f"The run in {directory} is unfinished; finish it first.")
    require("wandb")
    import wandb  # heavy, and needed by few

    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=f"{record['trainer']} {record['dataset']} {record['subsample_classes']} seed {record['seed']}",
        group=str(record.get("experiment")),
        job_type=record.get("mode"),
        config=flatten(record.get("config") or {}) | {"command": record.get("command")},
        dir=str(directory),
        reinit="finish_previous",
    )
    for row in epochs(read_history(directory / "history.json")):
        run.log(row)
    run.summary.update(numbers(record))
    where = run.url or run.dir
    run.finish()
    return str(where)


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m runs.tracking", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="output directories of finished runs")
    with steady_streams():
        try:
            for directory in parser.parse_args(argv).runs:
                print(f"{directory}: {log_run(directory)}")
        except (ImportError, ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
