"""From rows to runs: command lines of train.py, where each leaves its results, and which needs which.

The protocols are those of the scripts (runs/protocols.py), so that scripts and sweeps share finished runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from promptclip.common.names import unknown
from runs.protocols import (
    EMBEDDED_CONFIG,
    PROTOCOLS,
    Setting,
    Step,
    config_name,
    data_root,
    default_source,
    is_embedded,
)
from sweeps.checks import configure, learns, sort_options
from sweeps.perform import PlannedRun
from sweeps.processes import REPOSITORY
from sweeps.spec import SpecRow

KEEP = "TRAIN.CHECKPOINT_FREQ"


@dataclass
class Plan:
    """Runs in the order they are started in; `rows` are labels with the directories of their runs."""

    runs: dict[str, PlannedRun] = field(default_factory=dict)
    configs: dict[str, CfgNode] = field(default_factory=dict)
    rows: list[tuple[str, list[str]]] = field(default_factory=list)


def make_plan(rows: list[SpecRow], output: str = "output", root: str = "") -> Plan:
    """All runs of `rows`.

    Args:
        rows: of the table.
        output: root of the results.
        root: directory that holds the data sets; "" for the embedded ones.

    Raises:
        ValueError, KeyError, FileNotFoundError: for what cannot be meant, with the nearest valid name.
    """
    check_dataset_names(rows)
    plan = Plan()
    for row in rows:
        directories = []
        for run, cfg in RowPlanner(row, output, root).runs():
            known = plan.runs.setdefault(run.directory, run)
            if known.argv != run.argv:
                raise ValueError(
                    f"Row {row.label!r} and an earlier one would share {run.directory} with different settings; "
                    "give one of them a tag."
                )
            plan.configs.setdefault(run.directory, cfg)
            directories.append(run.directory)
        plan.rows.append((row.label, list(dict.fromkeys(directories))))
    return plan


def check_dataset_names(rows: list[SpecRow]) -> None:
    """Refuse (ValueError) yaml files of one's own that would share their name, and so their directories."""
    files: dict[str, Path] = {}
    for dataset in dict.fromkeys(name for row in rows for name in (*row.datasets, row.source) if name):
        name, file = dataset_file(dataset)
        if files.setdefault(name, file) != file:
            raise ValueError(
                f"{files[name]} and {file} would both be called {name} in directories; rename one of them."
            )


class RowPlanner:
    """Plans the runs of one row. Raises as `make_plan` does."""

    def __init__(self, row: SpecRow, output: str, root: str):
        self.row, self.output, self.root = row, output, root
        self.learns = learns(row.trainer)
        self._options: dict[tuple[str, str], tuple[dict[str, Any], str]] = {}
        self._configs: dict[tuple[Step, str], CfgNode] = {}

    def runs(self) -> Iterator[tuple[PlannedRun, CfgNode]]:
        """Training and evaluations with their configurations, data set by data set, seed by seed.

        What learns nothing has no epochs, and one result for all seeds.
        """
        row = self.row
        seeds = row.seeds if self.learns else (1,)
        for protocol, dataset, seed in product(row.protocols, row.datasets, seeds):
            target = self.setting(dataset, seed)
            steps = PROTOCOLS[protocol].trained if self.learns else PROTOCOLS[protocol].zero_shot
            training = None
            for step in steps:
                setting = target
                if step.on_source:
                    setting = self.setting(row.source or default_source(target.dataset), seed)
                elif step.needs and step.needs.on_source and training.dataset == target.dataset:
                    continue  # the training on the source has tested on it
                if protocol == "base2new" and not step.trains and step.subset not in row.subsets:
                    continue
                run, cfg = self.run(step, setting, training if step.needs else None)
                training = training or run
                yield run, cfg

    def setting(self, dataset: str, seed: int) -> Setting:
        """What the runs on a data set share, before the row's options."""
        name, file = dataset_file(dataset)
        if not self.root and not is_embedded(name):
            raise ValueError(
                f"--root must name the directory that holds {name}, as in --root /data; only emojinet and "
                "emojinet_mono are embedded."
            )
        config_file = self.config_file(name)
        return Setting(
            output=self.output,
            root=data_root(self.root, name),
            trainer=self.row.trainer,
            config=config_file.stem,
            config_file=str(config_file),
            dataset=name,
            dataset_file=str(file),
            shots=self.row.shots,
            seed=seed,
            epochs=self.row.epochs if self.learns else None,
        )

    def config_file(self, dataset: str) -> Path:
        """The method's yaml file for a data set."""
        trainer, name = self.row.trainer, self.row.config
        if name and name.endswith(".yaml"):
            return existing(Path(name))
        folder = REPOSITORY / "configs/trainers" / trainer
        there = sorted(path.stem for path in folder.glob("*.yaml"))
        if not name and is_embedded(dataset):
            name = EMBEDDED_CONFIG
        if not name:
            raise ValueError(f"Row {self.row.label!r} names no config; {trainer} has {', '.join(there)}.")
        if name not in there:
            raise ValueError(unknown(f"configuration of {trainer}", name, there))
        return (folder / f"{name}.yaml").relative_to(REPOSITORY)

    def run(self, step: Step, plain: Setting, training: PlannedRun | None) -> tuple[PlannedRun, CfgNode]:
        """A step on a data set and its configuration; `training` is the one whose checkpoint it evaluates."""
        options, tag = self.options(step, plain)
        setting = replace(
            plain,
            config=config_name(plain.config, plain.epochs, tag),
            options=pairs({key: value for key, value in options.items() if key != KEEP}),
        )
        checkpoint = (training.directory, training.epochs) if training else None
        argv = setting.command(step, checkpoint, options.get(KEEP, 1))
        if (step, plain.dataset) not in self._configs:
            self._configs[step, plain.dataset] = self.configure(argv[1:])
        cfg = self._configs[step, plain.dataset].clone()
        cfg.defrost()
        cfg.SEED, cfg.OUTPUT_DIR = setting.seed, setting.directory(step)
        cfg.freeze()
        verb = "train" if step.trains else "test"
        words = [verb, setting.trainer, tag, setting.dataset, step.subset]
        words += [f"{setting.shots} shots" if step.trains and setting.shots != 16 else "", f"seed {setting.seed}"]
        run = PlannedRun(
            directory=setting.directory(step),
            argv=tuple(argv),
            title=" ".join(word for word in words if word),
            dataset=setting.dataset,
            needs=training.directory if training else None,
            epochs=cfg.OPTIM.MAX_EPOCH,
            keeps_all=KEEP in options,
            kind=(verb, setting.dataset, setting.trainer, setting.config, step.subset),
        )
        return run, cfg

    def options(self, step: Step, plain: Setting) -> tuple[dict[str, Any], str]:
        """The row's options that change anything on this data set, and the tag they give its directories.

        An option that repeats what the yaml files say is left out: the run is the same, so is its directory.
        """
        key = plain.dataset_file, plain.config_file
        if key not in self._options:
            asked = dict(self.row.options)
            command = plain.command(step)[1:]
            configs = self.configure(command), self.configure([*command, *pairs(asked)])
            changing, harmless = sort_options(asked, *configs)
            tag = "-".join(f"{name.rpartition('.')[2].lower()}_{slug(value)}" for name, value in changing.items())
            kept = {name: value for name, value in asked.items() if name in changing or name in harmless}
            self._options[key] = kept, tag if self.row.tag is None else self.row.tag
        return self._options[key]

    def configure(self, arguments: list[str]) -> CfgNode:
        """The configuration of train.py's `arguments`; an error says which row it is about."""
        try:
            return configure(arguments)
        except ValueError as error:
            raise ValueError(f"Row {self.row.label!r}: {error}") from error


def pairs(options: dict[str, Any]) -> tuple[str, ...]:
    """KEY VALUE arguments."""
    return tuple(text for key, value in options.items() for text in (key, str(value)))


def slug(value: Any) -> str:
    """A value as part of a directory's name."""
    return "".join(letter if letter.isalnum() or letter in "._+-" else "_" for letter in str(value)) or "empty"


def dataset_file(name: str) -> tuple[str, Path]:
    """(name in directories, yaml file) of a data set: one of configs/datasets/, or a yaml file of one's own."""
    if name.endswith(".yaml"):
        return Path(name).stem, existing(Path(name))
    there = sorted(path.stem for path in (REPOSITORY / "configs/datasets").glob("*.yaml"))
    if name not in there:
        raise ValueError(unknown("data set in configs/datasets/", name, there))
    return name, Path("configs/datasets") / f"{name}.yaml"


def existing(path: Path) -> Path:
    """`path`, absolute. Raises FileNotFoundError."""
    path = path.expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path} (a name that ends in .yaml is a file's).")
    return path.resolve()
