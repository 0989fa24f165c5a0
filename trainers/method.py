"""A method as data: its options, what it is put together from, and its registration with Dassl."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from clip.model import CLIP
from dassl.engine import TRAINER_REGISTRY
from tabulate import tabulate
from yacs.config import CfgNode

from promptclip.learner import PromptLearner
from promptclip.model import PRECISIONS, PromptedCLIP
from trainers.templates import dataset_template

Options: TypeAlias = CfgNode
"""A method's own configuration node: its options by name."""


@dataclass(frozen=True)
class Option:
    """One option of a method: cfg.TRAINER.<node>.<name>.

    Attributes:
        default: its value where nothing else is said; its type is the option's.
        help: what it is, in a line, with its unit.
        choices: the allowed values; () for any.
        low, high: the least and the greatest number allowed.
        above: the number has to be greater than this.
        decides_test: a trained model computes something else under another value, so a checkpoint that was trained
            with another one is refused.
        ignored: (options) -> why the option has no effect under the other ones, "" where it has.
    """

    default: Any
    help: str
    choices: tuple = ()
    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    decides_test: bool = False
    ignored: Callable[[Options], str] = lambda options: ""

    def allowed(self) -> str:
        """The allowed values in words."""
        if self.choices:
            return ", ".join(map(str, self.choices))
        kind = {int: "whole number", float: "number", bool: "True, False", str: "text"}[type(self.default)]
        limits = [f"above {self.above:g}"] if self.above > -math.inf else []
        limits += [f"from {self.low:g}"] if self.low > -math.inf else []
        limits += [f"to {self.high:g}"] if self.high < math.inf else []
        return " ".join([kind, *limits])

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError, in one sentence, for a value of another type or out of range."""
        kind = type(self.default)
        right = type(value) is kind or (kind is float and type(value) is int)
        number = right and kind in (int, float)
        if number:
            right = math.isfinite(value) and self.low <= value <= self.high and value > self.above
        if not right or (self.choices and value not in self.choices):
            raise ValueError(f"{name} is {value!r}; allowed: {self.allowed()}.")


PREC = Option("fp16", "precision of the frozen CLIP; fp16 and amp need CUDA, else fp32 is computed", choices=PRECISIONS)


VIEWS = Option(
    -1,
    "-1: steps see images, as published; k: features, made once, of k augmented views; 0: of the test-time view",
    low=-1,
)


LOGIT_SCALE = Option(
    100.0,
    "of the cosine: 100, as the reference writes; 0: CLIP's own logit scale",
    low=0,
    decides_test=True,
)


@dataclass(frozen=True)
class Setup:
    """What a method is built from.

    Attributes:
        clip: the frozen CLIP, on the run's device and in its precision.
        options: the method's options.
        classnames: the run's K classes.
        dataset: registered name of the data set.
        template: the user's own template, "" where there is none.
        epochs: how many the run trains.
    """

    clip: PromptedCLIP
    options: Options
    classnames: list[str]
    dataset: str
    template: str
    epochs: int

    def logit_scale(self) -> float:
        """What a method that has LOGIT_SCALE multiplies cosines with."""
        return float(self.options.LOGIT_SCALE) or self.clip.model.logit_scale.exp().item()

    def dataset_template(self, table: str = "dataset") -> str:
        """The data set's template; see `trainers.templates.dataset_template`."""
        return dataset_template(self.dataset, self.template, table)


@dataclass(frozen=True)
class Method:
    """What distinguishes a method; `trainers.trainer.PromptTrainer` trains them all.

    Attributes:
        name: registered name (--trainer).
        summary: one line, with the paper.
        options: by name; they make up the configuration node cfg.TRAINER.<node>.
        build: puts together what is learned.
        node: name of the configuration node.
        folder: name of the checkpoints' folder, the reference implementation's.
        learns: first names of the learned parameters, which tell a checkpoint's method; () where nothing is learned.
        needs_vit: it prompts the vision tower.
        check: (options, backbone) -> None; raises ValueError for options that do not go together, or not with this
            backbone, before any data is read.
        unused: first names of entries that checkpoints of this method may hold without their being used.
        new_classes: why it tells no classes but those it was trained on; "" where it does.
        views: of each training image (DATALOADER.K_TRANSFORMS); the second is the teacher's.
        graph: its steps may be replayed as a CUDA graph; not where they ask for values, or draw random numbers.
        recognise: (names in a checkpoint) -> options that it was certainly trained with.
    """

    name: str
    summary: str
    options: Mapping[str, Option]
    build: Callable[[Setup], PromptLearner]
    node: str
    folder: str = "prompt_learner"
    learns: tuple[str, ...] = ()
    needs_vit: bool = False
    check: Callable[[Options, CLIP], None] = lambda options, backbone: None
    unused: tuple[str, ...] = ()
    new_classes: str = ""
    views: int = 1
    graph: bool = True
    recognise: Callable[[Iterable[str]], dict[str, Any]] = field(default=lambda names: {})

    def defaults(self) -> CfgNode:
        """The configuration node."""
        return CfgNode({name: option.default for name, option in self.options.items()})

    def check_options(self, options: Options) -> None:
        """Raise ValueError for a value out of range or of another type, or one that has no effect as things are."""
        for name, option in self.options.items():
            option.check(f"TRAINER.{self.node}.{name}", options[name])
        for name, option in self.options.items():
            reason = option.ignored(options) if options[name] != option.default else ""
            if reason:
                raise ValueError(
                    f"TRAINER.{self.node}.{name} is {options[name]!r}, but {reason}; leave it at {option.default!r}."
                )

    def describe(self) -> str:
        """A printed reference of all options."""
        rows = [
            [f"TRAINER.{self.node}.{name}", repr(option.default), option.allowed(), option.help]
            for name, option in self.options.items()
        ]
        table = tabulate(rows, ["option", "default", "allowed", "what it is"], maxcolwidths=[None, None, 28, 60])
        return f"{self.name}: {self.summary}\n\n{table}"


def within_backbone(name: str, value: int, low: int, high: int) -> None:
    """Raise ValueError unless low <= value <= high, limits that the backbone sets."""
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, but this backbone allows {low} to {high}.")


def register(method: Method) -> None:
    """Have Dassl know `method` under its name: a subclass of the one trainer that carries it.

    Raises:
        KeyError: another method has that name.
    """
    from trainers.trainer import PromptTrainer  # which needs what this file defines

    TRAINER_REGISTRY.register()(
        type(
            method.name,
            (PromptTrainer,),
            {"method": method, "__doc__": method.summary, "__module__": method.build.__module__},
        )
    )
