"""From rows to runs: command lines of train.py, where each leaves its results, and which needs which.

Paths are those of scripts/common.sh, so that scripts and sweeps share finished runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from promptclip.common.names import unknown
from runs.arguments import build_parser
from runs.checks import check_values
from runs.config import build_config, check_names, flatten
from runs.record import WITHOUT_EFFECT, effective
from sweeps.run import EMBEDDED, Run
from sweeps.spec import Row

REPOSITORY = Path(__file__).parents[1]
KEEP = "TRAIN.CHECKPOINT_FREQ"


@dataclass
class Plan:
    """Runs in the order they are started in; `rows` are labels with the directories of their runs."""

    runs: dict[str, Run] = field(default_factory=dict)
    configs: dict[str, CfgNode] = field(default_factory=dict)
    rows: list[tuple[str, list[str]]] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """What the runs of a sweep have in common: root of the results, root of the data sets."""

    output: str = "output"
    root: str = ""


def make_plan(rows: list[Row], place: Place) -> Plan:
    """All runs of `rows`. Raises ValueError, KeyError or FileNotFoundError, with the nearest valid name."""
    plan = Plan()
    for row in rows:
        directories = []
        method = Method(row, place)
        for run in method.runs():
            known = plan.runs.setdefault(run.directory, run)
            if known.argv != run.argv:
                raise ValueError(
                    f"Row {row.label!r} and an earlier one would share {run.directory} with different settings; "
                    "give one of them a tag."
                )
            plan.configs.setdefault(run.directory, method.configs[run.directory])
            directories.append(run.directory)
        plan.rows.append((row.label, list(dict.fromkeys(directories))))
    return plan


class Method:
    """The runs of one row. Raises as `make_plan` does."""

    def __init__(self, row: Row, place: Place):
        self.row, self.place = row, place
        methods = TRAINER_REGISTRY.registered_names()
        if row.trainer not in methods:
            raise ValueError(unknown("trainer", row.trainer, methods))
        self.learns = getattr(TRAINER_REGISTRY.get(row.trainer), "learns", None) != ()
        self.configs: dict[str, CfgNode] = {}
        self.epochs = row.epochs if self.learns else None  # what learns nothing has none
        self.seeds = row.seeds if self.learns else (1,)  # and one result for all seeds
        self._settled: dict[tuple[str, str], tuple[dict[str, Any], str]] = {}
        self._alike: dict[tuple[str, str, str], CfgNode] = {}

    def runs(self) -> Iterator[Run]:
        """Training and evaluations, data set by data set, seed by seed."""
        for protocol in self.row.protocols:
            for dataset in self.row.datasets:
                for seed in self.seeds:
                    one = OneSeed(self, dataset, seed)
                    if protocol == "base2new":
                        yield from one.base2new()
                    elif protocol == "fewshot":
                        yield from one.fewshot()
                    else:
                        yield from one.transfer()

    def config_file(self, dataset: str) -> Path:
        """The method's yaml file for a data set."""
        trainer, name = self.row.trainer, self.row.config
        if name and name.endswith(".yaml"):
            return existing(Path(name))
        folder = REPOSITORY / "configs/trainers" / trainer
        there = sorted(path.stem for path in folder.glob("*.yaml"))
        if not name and is_embedded(dataset):
            name = "emojiclip"
        if not name:
            raise ValueError(f"Row {self.row.label!r} names no config; {trainer} has {', '.join(there)}.")
        if name not in there:
            raise ValueError(unknown(f"configuration of {trainer}", name, there))
        return (folder / f"{name}.yaml").relative_to(REPOSITORY)

    def configuration(self, kind: tuple[str, str, str], arguments: list[str], directory: str, seed: int) -> CfgNode:
        """The configuration of train.py's `arguments`: built once for each `kind` of run, which seeds share."""
        if kind not in self._alike:
            self._alike[kind] = configure(arguments, self.row.label)
        cfg = self._alike[kind].clone()
        cfg.defrost()
        cfg.SEED, cfg.OUTPUT_DIR = seed, directory
        cfg.freeze()
        return cfg

    def settled(self, dataset: str, arguments: list[str]) -> tuple[dict[str, Any], str]:
        """The row's options that change anything on this data set, and the tag they give its directories.

        An option that repeats what the yaml files say is left out: the run is the same, so is its directory.
        """
        key = (dataset, str(self.config_file(dataset)))
        if key not in self._settled:
            asked = dict(self.row.options)
            plain = flatten(configure(arguments, self.row.label))
            with_options = configure([*arguments, *pairs(asked)], self.row.label)
            own = effective(flatten(with_options), self.row.trainer)
            changed = {name: value for name, value in asked.items() if name in own and own[name] != plain[name]}
            kept = {name: value for name, value in asked.items() if name in changed or name in WITHOUT_EFFECT}
            tag = "-".join(f"{name.rpartition('.')[2].lower()}_{slug(value)}" for name, value in changed.items())
            self._settled[key] = kept, tag if self.row.tag is None else self.row.tag
        return self._settled[key]


class OneSeed:
    """The runs of one row on one data set with one seed, as scripts/common.sh would do them."""

    def __init__(self, method: Method, dataset: str, seed: int):
        self.method, self.row, self.seed = method, method.row, seed
        self.dataset, self.dataset_file = dataset_file(dataset)
        self.output, self.shots = method.place.output, method.row.shots
        if not method.place.root and not is_embedded(self.dataset):
            raise ValueError(
                f"--root must name the directory that holds {self.dataset}, as in --root /data; only emojinet and "
                "emojinet_mono are embedded."
            )

    def base2new(self) -> Iterator[Run]:
        """Train on base classes (which tests on them), evaluate on new ones; what learns nothing is evaluated."""
        tree = f"{self.output}/base2new/{{}}/{self.dataset}/shots_{self.shots}/{self.row.trainer}/{{}}/seed{self.seed}"
        if not self.method.learns:
            for subset in self.row.subsets:
                yield self.run(tree.format(f"test_{subset}", "{}"), subset, "")
            return
        training = self.run(tree.format("train_base", "{}"), "base")
        yield training
        if "new" in self.row.subsets:
            yield self.run(tree.format("test_new", "{}"), "new", training)

    def fewshot(self) -> Iterator[Run]:
        """Train and test on all classes."""
        if self.method.learns:
            yield self.run(self.source_directory(), "all")
        else:
            yield self.run(self.target_directory(), "all", "")

    def transfer(self) -> Iterator[Run]:
        """Train on all classes of the source, evaluate on this data set."""
        source = OneSeed(
            self.method, self.row.source or (EMBEDDED if is_embedded(self.dataset) else "imagenet"), self.seed
        )
        if not self.method.learns:
            yield source.run(source.target_directory(), "all", "")
            yield self.run(self.target_directory(), "all", "")
            return
        training = source.run(source.source_directory(), "all")
        yield training
        if self.dataset != source.dataset:
            yield self.run(self.target_directory(), "all", training)

    def source_directory(self) -> str:
        """Where training on all classes goes; the configuration's name is filled in by `run`."""
        return f"{self.output}/{self.dataset}/{self.row.trainer}/{{}}_{self.shots}shots/seed{self.seed}"

    def target_directory(self) -> str:
        """Where evaluation on all classes goes."""
        return f"{self.output}/evaluation/{self.row.trainer}/{{}}_{self.shots}shots/{self.dataset}/seed{self.seed}"

    def run(self, directory: str, subset: str, checkpoint: "Run | str | None" = None) -> Run:
        """A training without `checkpoint`; the evaluation of that training's, or of nothing ("")."""
        row, method = self.row, self.method
        config_file = method.config_file(self.dataset)
        command = ["train.py", "--root", method.place.root, "--seed", str(self.seed), "--trainer", row.trainer]
        files = ["--dataset-config-file", str(self.dataset_file), "--config-file", str(config_file)]
        data = ["DATASET.NUM_SHOTS", str(self.shots), "DATASET.SUBSAMPLE_CLASSES", subset]
        if method.epochs:
            data += ["OPTIM.MAX_EPOCH", str(method.epochs)]
        options, tag = method.settled(self.dataset, [*command[1:], *files, *data])
        name = config_file.stem + (f"-{tag}" if tag else "") + (f"-ep{method.epochs}" if method.epochs else "")
        directory = directory.format(name)
        frequency = options.get(KEEP, 1)
        mode = [KEEP, str(frequency)]
        if checkpoint is not None:
            mode = ["--eval-only"]
            if checkpoint:
                mode += ["--model-dir", checkpoint.directory, "--load-epoch", str(checkpoint.epochs)]
        rest = pairs({key: value for key, value in options.items() if key != KEEP})
        argv = [*command, "--output-dir", directory, *files, *mode, *data, *rest]
        verb = "train" if checkpoint is None else "test"
        cfg = method.configs[directory] = method.configuration(
            (verb, self.dataset, subset), argv[1:], directory, self.seed
        )
        words = [row.trainer, *([tag] if tag else []), self.dataset, subset]
        shots = [f"{self.shots} shots"] if checkpoint is None and self.shots != 16 else []
        return Run(
            directory=directory,
            argv=tuple(argv),
            title=" ".join([verb, *words, *shots, f"seed {self.seed}"]),
            needs=checkpoint.directory if checkpoint else None,
            epochs=cfg.OPTIM.MAX_EPOCH,
            keeps=KEEP in options,
            alike=(verb, self.dataset, row.trainer, name, subset),
        )


def configure(arguments: list[str], label: str) -> CfgNode:
    """The configuration of train.py's `arguments`, checked as train.py checks it."""
    try:
        cfg = build_config(build_parser("").parse_args(arguments))
        check_names(cfg)
        check_values(cfg)
    except (ValueError, KeyError, FileNotFoundError) as error:
        raise ValueError(f"Row {label!r}: {error.args[0] if isinstance(error, KeyError) else error}") from error
    return cfg


def pairs(options: dict[str, Any]) -> list[str]:
    """KEY VALUE arguments."""
    return [text for key, value in options.items() for text in (key, str(value))]


def slug(value: Any) -> str:
    """A value as part of a directory's name."""
    return "".join(letter if letter.isalnum() or letter in "._+-" else "_" for letter in str(value)) or "empty"


def is_embedded(dataset: str) -> bool:
    """Whether a data set comes with the code, with a backbone of its own."""
    return Path(dataset).stem.startswith(EMBEDDED)


def dataset_file(name: str) -> tuple[str, Path]:
    """(name in paths, yaml file) of a data set: one of configs/datasets/, or a yaml file of one's own."""
    if name.endswith(".yaml"):
        return Path(name).stem, existing(Path(name))
    there = sorted(path.stem for path in (REPOSITORY / "configs/datasets").glob("*.yaml"))
    if name not in there:
        raise ValueError(unknown("data set in configs/datasets/", name, there))
    return name, Path("configs/datasets") / f"{name}.yaml"


def existing(path: Path) -> Path:
    """`path`, absolute unless it lies in the repository. Raises FileNotFoundError."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path} (a name that ends in .yaml is a file's).")
    return path.resolve()
