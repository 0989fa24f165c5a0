"""Base-to-new generalisation as a table: accuracy on base and new classes and their harmonic mean, over seeds.

python -m report.base2new output/base2new --dataset EmojiNet
"""

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from tabulate import tabulate

from report.records import read_records

NAMES = {"ZeroshotCLIP": "zero-shot CLIP"}
MISSING = "missing"


@dataclass
class Experiment:
    """One row: a method with one configuration on one data set; `base` and `new` map seed to accuracy in percent."""

    dataset: str
    trainer: str
    epoch: int | None
    shots: int | None
    backbone: str
    config: str
    base: dict[int, float] = field(default_factory=dict)
    new: dict[int, float] = field(default_factory=dict)

    def harmonic(self) -> dict[int, float]:
        """Seed to harmonic mean, for the seeds that have both accuracies."""
        return {seed: harmonic_mean(self.base[seed], self.new[seed]) for seed in self.base if seed in self.new}


def harmonic_mean(base: float, new: float) -> float:
    """2ab / (a + b), which is 0 when both are 0."""
    return 2 * base * new / (base + new) if base + new else 0.0


def collect(records: list[dict[str, Any]]) -> list[Experiment]:
    """Group base and new records by data set, method and configuration; zero-shot CLIP first.

    A training run and an evaluation of the same checkpoint on the same classes count once, the evaluation winning.
    """
    experiments: dict[tuple, Experiment] = {}
    for record in sorted(records, key=lambda one: one.get("mode") == "eval"):
        if record["subsample_classes"] not in ("base", "new"):
            continue
        details = (record.get("epoch"), record.get("shots"), record.get("backbone", ""))
        key = (record["dataset"], record["trainer"], *details, record.get("experiment"))
        if key not in experiments:
            config = record["path"].parent.name
            experiments[key] = Experiment(record["dataset"], record["trainer"], *details, config)
        getattr(experiments[key], record["subsample_classes"])[record["seed"]] = record["accuracy"]
    return sorted(experiments.values(), key=lambda one: (one.dataset, one.trainer != "ZeroshotCLIP"))


def mean_and_spread(values: dict[int, float]) -> str:
    """`mean ± population standard deviation`; a single seed has no spread, none is "missing"."""
    if not values:
        return MISSING
    numbers = list(values.values())
    spread = f" ± {pstdev(numbers):.1f}" if len(numbers) > 1 else ""
    return f"{fmean(numbers):.1f}{spread}"


def seeds(experiment: Experiment) -> str:
    """How many seeds stand behind base and new: one number if they agree."""
    base, new = len(experiment.base), len(experiment.new)
    return str(base) if experiment.base.keys() == experiment.new.keys() else f"{base} base, {new} new"


def table(experiments: list[Experiment]) -> str:
    """The rows of one data set as text, at most 80 columns for names of usual length."""
    methods = [one.trainer for one in experiments]
    configs = [(one.trainer, one.config) for one in experiments]
    rows = []
    for experiment in experiments:
        name = NAMES.get(experiment.trainer, experiment.trainer)
        if methods.count(experiment.trainer) > 1:  # the same method twice: say what differs
            twice = configs.count((experiment.trainer, experiment.config)) > 1
            name += f" ({experiment.config}{f', epoch {experiment.epoch}' if twice else ''})"
        figures = [mean_and_spread(part) for part in (experiment.base, experiment.new, experiment.harmonic())]
        rows.append([name, *figures, seeds(experiment)])
    header = ["accuracy, %", "base", "new", "harmonic mean", "seeds"]
    return tabulate(rows, header, tablefmt="simple", disable_numparse=True, colalign=("left", *["right"] * 4))


def title(experiments: list[Experiment]) -> str:
    """Data set, and what all its rows share."""
    shots = {one.shots for one in experiments if one.trainer != "ZeroshotCLIP"} or {one.shots for one in experiments}
    backbones = {one.backbone for one in experiments}
    parts = [experiments[0].dataset, *sorted(backbones)]
    if len(shots) == 1:
        parts.append(f"{shots.pop()} shots a class")
    return ", ".join(parts)


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="directory whose runs are read, such as output/base2new")
    parser.add_argument("--dataset", help="show this data set only (its registered name, letter case aside)")
    args = parser.parse_args(argv)
    try:
        experiments = collect(read_records(args.output))
        there = sorted({one.dataset for one in experiments})
        if args.dataset:
            experiments = [one for one in experiments if one.dataset.casefold() == args.dataset.casefold()]
        if not experiments:
            wanted = f" of {args.dataset}" if args.dataset else ""
            listed = f"; there are some of {', '.join(there)}" if there else ""
            raise ValueError(f"No finished run on base or new classes{wanted} below {args.output}{listed}.")
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name in there:
        rows = [one for one in experiments if one.dataset == name]
        if rows:
            print(f"\n{title(rows)}\n\n{table(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
