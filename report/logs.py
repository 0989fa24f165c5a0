"""Results from log.txt as CoOp, CoCoOp, KgCoOp, MaPLe and PromptSRC leave them, where there is no record.

What was run is read from the log itself, which holds the whole configuration; a directory's name only fills gaps.
Accuracies have the one decimal that is printed there.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from parse_test_res import TESTED, TRAINED, find_result
from report.names import registered_name

HEAD = 100_000
"""Characters in which arguments and configuration stand."""


def read_logs(output: Path) -> Iterator[dict[str, Any]]:
    """The attributes of a `Record` for each directory below `output` that has a log with a result but no record."""
    for log in sorted(output.rglob("log.txt")):
        run = log.parent
        if not (run / "metrics.json").exists():
            facts = read_run(run, output)
            if facts:
                yield facts


def read_run(run: Path, output: Path) -> dict[str, Any] | None:
    """One run's attributes; None if it has come to no result, or is not told apart by log or path."""
    with (run / "log.txt").open(encoding="utf-8", errors="replace") as file:
        head = file.read(HEAD)
    config = configuration(head)
    training = "\nepoch [" in head or "eval_only: False" in head
    found = find_result(run, "accuracy", TRAINED if training else TESTED)
    facts = by_path(run, output) | by_config(config)
    if found is None or not {"trainer", "dataset"} <= facts.keys():
        return None
    loaded = re.search(r"^load_epoch: (\d+)$", head, flags=re.MULTILINE)
    epoch = config.get("OPTIM.MAX_EPOCH") if training else int(loaded[1]) if loaded else None
    return {
        "path": run,
        "subset": "all",
        "seed": -1,
        **facts,
        "accuracy": found[1],
        "mode": "train" if training else "eval",
        "epoch": epoch,
        "source": source(head, facts["dataset"]),
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
    for line in part[1].splitlines():  # line by line: a log may break off anywhere
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
    except yaml.YAMLError:
        return value
    return parsed if isinstance(parsed, str | int | float | bool | None) else value


def by_config(config: dict[str, Any]) -> dict[str, Any]:
    """What the configuration says of trainer, data set, subset, seed, shots and backbone."""
    keys = {
        "trainer": ("TRAINER.NAME", str),
        "dataset": ("DATASET.NAME", str),
        "subset": ("DATASET.SUBSAMPLE_CLASSES", str),
        "seed": ("SEED", int),
        "shots": ("DATASET.NUM_SHOTS", int),
        "backbone": ("MODEL.BACKBONE.NAME", str),
    }
    known = {name: config.get(key) for name, (key, kind) in keys.items() if isinstance(config.get(key), kind)}
    return {name: value for name, value in known.items() if value != ""}


def by_path(run: Path, output: Path) -> dict[str, Any]:
    """What the family's tree says: base2new/<part>/<dataset>/shots_<n>/<Trainer>/<config>/seed<k>,
    evaluation/<Trainer>/<config>_<n>shots/<dataset>/seed<k>, <dataset>/<Trainer>/<config>_<n>shots/.../seed<k>.
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


def source(head: str, dataset: str) -> str | None:
    """The data set whose training an evaluation's --model-dir names, if that is in the family's tree."""
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
