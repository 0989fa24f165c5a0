"""Summarise the test results that runs left in their log files, over seeds (CoOp's command line and output).

python parse_test_res.py output/base2new/train_base/oxford_pets/shots_16/RESTORE_m/vit_b16_c2_ep10_batch4
python parse_test_res.py output/base2new/test_new/oxford_pets/shots_16/RESTORE_m/vit_b16_c2_ep10_batch4 --test-log
python parse_test_res.py output/evaluation/RESTORE_m/vit_b16_c2_ep2_batch4_16shots --test-log --multi-exp
"""

import argparse
import os
import re
import sys
from pathlib import Path

import numpy as np

from promptclip.common.console import steady_streams
from report.logs import TESTED, TRAINED, find_result


def subdirectories(directory: Path) -> list[Path]:
    """The visible directories in `directory`, by name."""
    return sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))


def nothing_found(directory: Path, keyword: str, signals: tuple[str, ...]) -> str:
    """One sentence on why `directory` gave no result, with what to do."""
    place = f"Nothing found in {directory}"
    if (directory / "log.txt").is_file():
        return f"{place}: it is a single run; give the directory that holds its seed directories, {directory.parent}."
    runs = subdirectories(directory)
    logs = [log for run in runs for log in sorted(run.glob("log.txt*"))]
    if not logs:
        return f"{place}: expected seed directories with a log.txt in each (seed1/log.txt, seed2/log.txt, ...)."
    if signals == TRAINED and any(find_result(run, keyword, TESTED) for run in runs):
        return f"{place}: no log holds the line {TRAINED[0]!r}; add --test-log to read evaluation runs."
    texts = "".join(log.read_text(encoding="utf-8", errors="replace") for log in logs)
    found = sorted(set(re.findall(r"^\* (\w+): \S+%", texts, flags=re.MULTILINE)))
    if found and keyword not in found:
        return f"{place}: no log holds the metric {keyword!r}; --keyword can be one of {', '.join(found)}."
    return f"{place}: none of its {len(logs)} log files has come to a result yet."


def summarise(directory: str, keyword: str, signals: tuple[str, ...], ci95: bool = False) -> float:
    """Print one line a run and the mean over the runs in `directory` (named as it was given), and return that mean.

    The spread is NumPy's population standard deviation, or with `ci95` the half width 1.96 std / sqrt(n).
    Raises ValueError if no run has a result.
    """
    print(f"Parsing files in {directory}")
    results = []
    for run in subdirectories(Path(directory)):
        found = find_result(run, keyword, signals)
        place = os.path.join(directory, run.name)
        if found is None:
            print(f"no result in {place}, left out", file=sys.stderr)
            continue
        print(f"file: {os.path.join(place, found[0].name)}. {keyword}: {found[1]:.2f}%. ")
        results.append(found[1])
    if not results:
        raise ValueError(nothing_found(Path(directory), keyword, signals))
    mean, spread = np.mean(results), np.std(results)
    if ci95:
        spread = 1.96 * spread / np.sqrt(len(results))
    print("===")
    print(f"Summary of directory: {directory}")
    print(f"* {keyword}: {mean:.2f}% +- {spread:.2f}%")
    print("===")
    return float(mean)


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", help="directory whose subdirectories are the runs (seeds)")
    parser.add_argument("--ci95", action="store_true", help="print the 95%% confidence interval, not the deviation")
    parser.add_argument("--test-log", action="store_true", help="read logs of evaluations (--eval-only)")
    parser.add_argument("--multi-exp", action="store_true", help="`directory` holds several experiments: average them")
    parser.add_argument("--keyword", default="accuracy", help="the metric to read (default: accuracy)")
    args = parser.parse_args(argv)
    signals = TESTED if args.test_log else TRAINED
    with steady_streams():
        try:
            summarise_all(args, signals)
            return 0
        except (ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2


def summarise_all(args: argparse.Namespace, signals: tuple[str, ...]) -> None:
    """Print the summary of one experiment, or of several and their average."""
    if not os.path.isdir(args.directory):
        raise ValueError(f"There is no directory {args.directory}; give one that holds seed directories.")
    if not args.multi_exp:
        summarise(args.directory, args.keyword, signals, args.ci95)
        return
    experiments = [os.path.join(args.directory, part.name) for part in subdirectories(Path(args.directory))]
    if not experiments:
        raise ValueError(f"{args.directory} is empty; with --multi-exp it must hold one directory an experiment.")
    means = [summarise(experiment, args.keyword, signals, args.ci95) for experiment in experiments]
    print("Average performance")
    print(f"* {args.keyword}: {np.mean(means):.2f}%")


if __name__ == "__main__":
    sys.exit(main())
