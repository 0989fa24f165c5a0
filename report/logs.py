"""Results from log.txt as CoOp, CoCoOp, KgCoOp, MaPLe and PromptSRC leave them, where there is no record.

What was run is read from the log itself, which holds the whole configuration; a directory's name only fills gaps.
Accuracies have the one decimal that is printed there.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from report.names import registered_name

TRAINED = ("Finish training", "Finished training")  # Dassl's line, and that of some repositories
TESTED = ("=> result",)
HEAD = 100_000
"""Characters in which arguments and configuration stand."""
LONGEST = 10_000
"""Characters of a line that are looked at in one piece."""
CONFIGURED = {
    "trainer": ("TRAINER.NAME", str),
    "dataset": ("DATASET.NAME", str),
    "subset": ("DATASET.SUBSAMPLE_CLASSES", str),
    "seed": ("SEED", int),
    "shots": ("DATASET.NUM_SHOTS", int),
    "backbone": ("MODEL.BACKBONE.NAME", str),
}
"""What a configuration says of a run."""


def find_result(run: Path, keyword: str, signals: tuple[str, ...]) -> tuple[Path, float] | None:
    """The log of directory `run` that holds its result, and the result.

    That is log.txt. A run that was interrupted and resumed ends in log.txt-<time>; those are asked, newest first, only
    if log.txt itself has no result.

    Args:
        keyword: the metric, such as accuracy.
        signals: the lines of which one precedes the result: TRAINED or TESTED.

    Raises:
        ValueError: as `read_result`.
    """
    for log in [run / "log.txt", *sorted(run.glob("log.txt-*"), reverse=True)]:
        result = read_result(log, keyword, signals) if log.is_file() else None
        if result is not None:
            return log, result
    return None


def read_result(log: Path, keyword: str, signals: tuple[str, ...]) -> float | None:
    """The last `* keyword: <number>%` after a line that is one of `signals`; None if the log holds none.

    Raises:
        ValueError: what stands there is no number, as after an evaluation of a model that broke, or the log cannot be
            read.
    """
    pattern = re.compile(rf"\* {re.escape(keyword)}: (\S+?)%")
    reached, found = False, None
    try:
        with log.open(encoding="utf-8", errors="replace") as file:
            while line := file.readline(LONGEST):
                reached = reached or line.strip() in signals
                match = pattern.search(line) if reached else None
                found = match[1] if match else found
    except OSError as error:
        raise ValueError(f"{log} cannot be read ({error.strerror}); make it readable, or move its run away.") from error
    if found is None:
        return None
    if re.fullmatch(r"[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?", found) and 0 <= float(found) <= 100:
        return float(found)
    raise ValueError(
        f"{log} says {keyword} {found}%, which is no number from 0 to 100; repeat that run, or move its directory away."
    )


def read_logs(output: Path) -> Iterator[dict[str, Any]]:
    """The attributes of a `RunRecord` for each directory below `output` that has a log with a result but no record.

    A log that cannot be read, or whose result is impossible, is left out and named on stderr.
    """
    for log in sorted(output.rglob("log.txt")):
        if not (log.parent / "metrics.json").exists():
            try:
                facts = read_run(log.parent, output)
                if facts:
                    yield facts
            except (OSError, ValueError) as error:
                print(f"{log} is left out: {error}", file=sys.stderr)


def read_run(run: Path, output: Path) -> dict[str, Any] | None:
    """One run's attributes; None if it has come to no result, or is not told apart by log or path.

    Raises:
        OSError, ValueError: its log cannot be read, or holds an impossible accuracy.
    """
    if not (run / "log.txt").is_file():
        raise ValueError("it is no file.")
    with (run / "log.txt").open(encoding="utf-8", errors="replace") as file:
        head = file.read(HEAD)
    config = configuration(head)
    training = "\nepoch [" in head or "eval_only: False" in head
    found = find_result(run, "accuracy", TRAINED if training else TESTED)
    configured = {
        name: config.get(key) for name, (key, kind) in CONFIGURED.items() if isinstance(config.get(key), kind)
    }
    facts = by_path(run, output) | {name: value for name, value in configured.items() if value != ""}
    if found is None or not {"trainer", "dataset"} <= facts.keys():
        return None
    loaded = re.search(r"^load_epoch: (\d{1,9})$", head, flags=re.MULTILINE)
    epoch = config.get("OPTIM.MAX_EPOCH") if training else int(loaded[1]) if loaded else None
    return {
        "path": run,
        "subset": "all",
        "seed": -1,
        **facts,
        "accuracy": found[1],
        "mode": "train" if training else "eval",
        "epoch": epoch if isinstance(epoch, int) else None,
        "source": source(head),
        "config": config,
        "experiment": config_name(run, facts["dataset"]),
        "from_log": True,
    }


def configuration(head: str) -> dict[str, Any]:
    """The flattened configuration that a log prints below `** Config **`; {} if there is none to be read."""
    pattern = r"^\*\* Config \*\*\n\*+\n(.*?)(?=^Collecting env info|^\*\*|\Z)"
    part = re.search(pattern, head, flags=re.MULTILINE | re.DOTALL)
    if part is None:
        return {}
    flat: dict[str, Any] = {}
    above: list[str] = []
    for line in part[1].splitlines():  # line by line: a log may end anywhere
        match = re.match(r"^( *)([A-Za-z0-9_]+):(?: (.*))?$", line)
        if match is None:
            continue
        above = [*above[: len(match[1]) // 2], match[2]]
        if match[3] is not None:
            flat[".".join(above)] = scalar(match[3])
    return flat


def scalar(value: str) -> Any:
    """A yaml scalar; what is more than one stays the text that it is."""
    try:
        parsed = yaml.safe_load(value) if len(value) < 200 and "&" not in value and "*" not in value else value
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        return value
    return parsed if isinstance(parsed, str | int | float | bool | None) else value


def by_path(run: Path, output: Path) -> dict[str, Any]:
    """What the path says in a CoOp-style tree.

    That is base2new/<part>/<dataset>/shots_<n>/<Trainer>/<config>/seed<k>, or
    evaluation/<Trainer>/<config>_<n>shots/<dataset>/seed<k>, or <dataset>/<Trainer>/<config>_<n>shots/.../seed<k>.
    """
    path = "/".join((output.resolve() / run.relative_to(output)).parts)
    facts: dict[str, Any] = {}
    seed = re.search(r"/seed(\d+)$", path)
    if seed:
        facts["seed"] = int(seed[1])
    shots = re.search(r"/shots_(\d+)/|_(\d+)shots/", path)
    if shots:
        facts["shots"] = int(shots[1] or shots[2])
    split = re.search(r"/(train_base|test_base|test_new)/([^/]+)/shots_\d+/([^/]+)/[^/]+/seed\d+$", path)
    evaluation = re.search(r"/evaluation/([^/]+)/[^/]+/([^/]+)/seed\d+$", path)
    training = re.search(r"/([^/]+)/([^/]+)/[^/]+_\d+shots/(?:[^/]+/)?seed\d+$", path)
    if split:
        facts |= {"subset": split[1].split("_")[1], "dataset": registered_name(split[2]), "trainer": split[3]}
    elif evaluation:
        facts |= {"dataset": registered_name(evaluation[2]), "trainer": evaluation[1]}
    elif training:
        facts |= {"dataset": registered_name(training[1]), "trainer": training[2]}
    return facts


def source(head: str) -> str | None:
    """The data set whose training an evaluation's --model-dir names, if that is in a CoOp-style tree."""
    given = re.search(r"^model_dir: (\S+)$", head, flags=re.MULTILINE)
    training = given and re.search(r"(?:^|/)([^/]+)/[^/]+/[^/]+_\d+shots/(?:[^/]+/)?seed\d+/?$", given[1])
    if not training or training[1] == "evaluation":
        return None
    return registered_name(training[1])


def config_name(run: Path, dataset: str) -> str:
    """The configuration's name in the path, the same for training and evaluation, so that rows come together."""
    parts = [part for part in run.parts[-4:] if not re.fullmatch(r"seed\d+", part) and registered_name(part) != dataset]
    named = [part for part in parts if re.search(r"_\d+shots$", part)]
    name = named[-1] if named else parts[-1] if parts else ""
    return "log " + re.sub(r"_\d+shots$", "", name)
