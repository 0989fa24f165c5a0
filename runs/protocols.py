"""The field's protocols, as data: which runs, which evaluates which, where each goes; and their command lines.

The scripts do one run at a time (runs/scripts.py), sweeps do whole tables (sweeps/plan.py). Imports nothing heavy.
"""

from dataclasses import dataclass
from pathlib import Path

EMBEDDED = ("emojinet", "emojinet_mono")
"""Data sets that come with the code: they need no data root, and have a backbone of their own."""
EMBEDDED_CONFIG = "emojiclip"
"""Every method's configuration for that backbone."""


@dataclass(frozen=True)
class Step:
    """One run of a protocol.

    Attributes:
        directory: where it goes below the root of results, with the names of `Setting`'s fields in braces.
        subset: classes it trains and tests on: all, base (the first half) or new (the rest).
        trains: whether it is a training, which also tests; otherwise an evaluation.
        needs: the training whose checkpoint it evaluates; None for a training, and for what learns nothing.
        on_source: whether it runs on the source data set of a transfer, not on its target.
    """

    directory: str
    subset: str
    trains: bool = False
    needs: "Step | None" = None
    on_source: bool = False


_BASE2NEW = "base2new/{part}/{{dataset}}/shots_{{shots}}/{{trainer}}/{{config}}/seed{{seed}}"
_ALL_CLASSES = "{dataset}/{trainer}/{config}_{shots}shots/seed{seed}"
_EVALUATION = "evaluation/{trainer}/{config}_{shots}shots/{dataset}/seed{seed}"

TRAIN_BASE = Step(_BASE2NEW.format(part="train_base"), "base", trains=True)
TEST_NEW = Step(_BASE2NEW.format(part="test_new"), "new", needs=TRAIN_BASE)
TEST_JOINT = Step(_BASE2NEW.format(part="test_all"), "all", needs=TRAIN_BASE)
"""All classes, base and new, of a model trained on the base classes."""
TRAIN_ALL = Step(_ALL_CLASSES, "all", trains=True)
TRAIN_SOURCE = Step(_ALL_CLASSES, "all", trains=True, on_source=True)
TEST_TARGET = Step(_EVALUATION, "all", needs=TRAIN_SOURCE)
ZERO_SHOT_BASE = Step(_BASE2NEW.format(part="test_base"), "base")
ZERO_SHOT_NEW = Step(_BASE2NEW.format(part="test_new"), "new")
ZERO_SHOT_JOINT = Step(_BASE2NEW.format(part="test_all"), "all")
ZERO_SHOT_ALL = Step(_EVALUATION, "all")
ZERO_SHOT_SOURCE = Step(_EVALUATION, "all", on_source=True)


@dataclass(frozen=True)
class Protocol:
    """The runs of an experiment, in order: of a method that is trained, and of one that learns nothing."""

    trained: tuple[Step, ...]
    zero_shot: tuple[Step, ...]


_TRANSFER = Protocol((TRAIN_SOURCE, TEST_TARGET), (ZERO_SHOT_SOURCE, ZERO_SHOT_ALL))
PROTOCOLS = {
    "base2new": Protocol((TRAIN_BASE, TEST_NEW, TEST_JOINT), (ZERO_SHOT_BASE, ZERO_SHOT_NEW, ZERO_SHOT_JOINT)),
    "cross_dataset": _TRANSFER,
    "cross_domain": _TRANSFER,
    "fewshot": Protocol((TRAIN_ALL,), (ZERO_SHOT_ALL,)),
}


@dataclass(frozen=True)
class Setting:
    """What the runs of a protocol on one data set share.

    Attributes:
        output: root of all results.
        root: directory that holds the data sets; "" for the embedded ones.
        trainer: registered name of the method.
        config: name of its configuration in directories, see `config_name`.
        config_file: yaml file of that configuration.
        dataset: name of the data set in directories.
        dataset_file: its yaml file.
        shots: training images per class.
        seed: of the run.
        epochs: in place of the yaml's; None for the yaml's.
        options: KEY VALUE words that override the yaml files.
    """

    output: str
    root: str
    trainer: str
    config: str
    config_file: str
    dataset: str
    dataset_file: str
    shots: int
    seed: int
    epochs: int | None = None
    options: tuple[str, ...] = ()

    def directory(self, step: Step) -> str:
        """Where the run goes."""
        return f"{self.output}/{step.directory.format_map(vars(self))}"

    def command(self, step: Step, checkpoint: tuple[str, int] | None = None, keep_every: int = 1) -> list[str]:
        """The run's command line, from "train.py" on.

        Args:
            step: which run.
            checkpoint: output directory and epoch of the training that is evaluated, if the step needs one.
            keep_every: epochs between two checkpoints of a training. All of them unless somebody asks for less, so
                that an interrupted run resumes where it was; see `keep_last_checkpoint`.
        """
        words = ["train.py", "--root", self.root, "--seed", str(self.seed), "--trainer", self.trainer]
        words += ["--output-dir", self.directory(step)]
        words += ["--dataset-config-file", self.dataset_file, "--config-file", self.config_file]
        words += ["TRAIN.CHECKPOINT_FREQ", str(keep_every)] if step.trains else ["--eval-only"]
        if checkpoint:
            words += ["--model-dir", checkpoint[0], "--load-epoch", str(checkpoint[1])]
        words += ["DATASET.NUM_SHOTS", str(self.shots), "DATASET.SUBSAMPLE_CLASSES", step.subset]
        if self.epochs:
            words += ["OPTIM.MAX_EPOCH", str(self.epochs)]
        return [*words, *self.options]


def config_name(stem: str, epochs: int | None = None, tag: str = "") -> str:
    """A configuration's name in directories: its file's, what sets the run apart from it, other epochs."""
    return stem + (f"-{tag}" if tag else "") + (f"-ep{epochs}" if epochs else "")


def is_embedded(dataset: str) -> bool:
    """Whether a data set, by its name in directories, comes with the code."""
    return dataset in EMBEDDED


def data_root(root: str, dataset: str) -> str:
    """`root`, but "" for a data set that comes with the code, unless there is one of its name below `root`."""
    return "" if is_embedded(dataset) and not Path(root, dataset).is_dir() else root


def default_source(target: str) -> str:
    """The data set that transfer trains on unless another is asked for."""
    return "emojinet" if is_embedded(target) else "imagenet"


def keep_last_checkpoint(directory: str, epoch: int) -> None:
    """Remove the checkpoints that a finished training kept for resuming: all but the last epoch's and the best."""
    for file in Path(directory).glob("*/model.pth.tar-*"):
        if file.name != f"model.pth.tar-{epoch}":
            file.unlink(missing_ok=True)
