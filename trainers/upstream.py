"""Lets upstream Dassl, last released in 2022 as 0.6.3, serve on a current PyTorch; dassl-core needs none of this.

Three things in it no longer work. They are put right in Dassl's own modules, never in torch's:
- its warm-up schedules hand `verbose` to torch's LRScheduler, which takes no such argument since torch 2.7;
- these schedules also save their successor as a whole object, optimiser included, and since 2.6 torch reads no such
  file back: it can neither resume a training nor evaluate a checkpoint that was published years ago;
- its logger closes the console together with the log, so that a program can print nothing after a run.
What only dassl-core does is not added: with upstream's Dassl a resumed run draws new random numbers.
"""

import inspect
import zipfile
from typing import Any

import dassl.engine.trainer
import dassl.optim.lr_scheduler
import dassl.utils
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

# What old schedules and the optimisers inside them consist of; anything else in a checkpoint is refused.
KNOWN = ("torch.optim.", "dassl.optim.", "collections.defaultdict", "builtins.dict")


class Inert:
    """Stands for an object in a checkpoint: takes its attributes and does nothing."""


def plain_dict(*args: Any) -> dict:
    """Stands for collections.defaultdict: an ordinary dict, which forgets the factory."""
    return {}


def is_outdated() -> bool:
    """Whether the Dassl in place is upstream's: its schedules still know `verbose`."""
    return "verbose" in inspect.signature(dassl.optim.lr_scheduler.ConstantWarmupScheduler).parameters


def begin(
    self: Any, optimizer: Optimizer, successor: LRScheduler, warmup_epoch: int, last_epoch: int = -1, verbose: Any = 0
) -> None:
    """`__init__` of a warm-up schedule, without `verbose`."""
    self.successor, self.warmup_epoch = successor, warmup_epoch
    LRScheduler.__init__(self, optimizer, last_epoch)


def state_dict(self: Any) -> dict[str, Any]:
    """Plain numbers only, those of the successor too."""
    return LRScheduler.state_dict(self) | {"successor": self.successor.state_dict()}


def load_state_dict(self: Any, state: dict[str, Any]) -> None:
    """Go to a saved place: one of this `state_dict`, dassl-core's, or upstream's old one with a whole successor."""
    saved = state["successor"]
    saved = vars(saved) if isinstance(saved, Inert) else saved
    self.successor.load_state_dict({key: saved[key] for key in self.successor.state_dict() if key in saved})
    self.__dict__.update({key: state[key] for key in ("last_epoch", "_step_count", "_last_lr") if key in state})


def load_checkpoint(fpath: str) -> dict[str, Any]:
    """Read a checkpoint onto the CPU without running anything in it. Raises FileNotFoundError, or ValueError."""
    with open(fpath, "rb"):
        names = []  # what cannot even be opened is an error of its own
    try:
        if zipfile.is_zipfile(fpath):
            names = torch.serialization.get_unsafe_globals_in_checkpoint(fpath)
        known = [(plain_dict if name.endswith("dict") else Inert, name) for name in names if name.startswith(KNOWN)]
        with torch.serialization.safe_globals(known):
            checkpoint = torch.load(fpath, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes its readers stumble in many ways
        foreign = [name for name in names if not name.startswith(KNOWN)]
        reason = f"it holds an object of {foreign[0]}, which could run code" if foreign else "it is damaged"
        raise ValueError(f'"{fpath}" is no checkpoint that can be used: {reason}.') from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f'"{fpath}" is no checkpoint: it holds a {type(checkpoint).__name__}, not a dict.')
    return checkpoint


def close_log(self: Any) -> None:
    """Close a logger's file and leave the console open."""
    if self.file is not None:
        self.file.close()


def repair() -> None:
    """Put the functions above into upstream's modules."""
    warmup = dassl.optim.lr_scheduler._BaseWarmupScheduler
    warmup.__init__, warmup.state_dict, warmup.load_state_dict = begin, state_dict, load_state_dict
    for module in (dassl.utils, dassl.utils.torchtools, dassl.engine.trainer):
        module.load_checkpoint = load_checkpoint
    dassl.utils.Logger.close = close_log


if is_outdated():
    repair()
