"""Lets upstream Dassl, last released in 2022 as 0.6.3, serve on a current PyTorch; dassl-core needs none of this.

Three things in it no longer work. They are put right in Dassl's own modules, never in torch's:
- its warm-up schedules hand `verbose` to torch's LRScheduler, which takes no such argument since torch 2.7;
- these schedules also save their successor as a whole object, optimiser included, and since 2.6 torch reads no such
  file back: it can neither resume a training nor evaluate a checkpoint that was published years ago;
- its logger closes the console together with the log, so that a program can print nothing after a run.
Its trainers know no listeners either; `ListenedTrainer` is a subclass that tells them what dassl-core's tell. What only
dassl-core does besides is not added: with upstream's Dassl a resumed run draws new random numbers.
"""

import inspect
from pathlib import Path
from typing import Any

import dassl.engine.trainer
import dassl.optim.lr_scheduler
import dassl.utils
import torch
from dassl.engine import TrainerX
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from promptclip.checkpoint_file import Inert, load_checkpoint


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


IS_UPSTREAM = is_outdated()
if IS_UPSTREAM:
    repair()


class UpstreamTrainer(TrainerX):
    """Upstream's trainer, which tells its listeners the events that dassl-core's engine tells; all but the steps, which
    happen in the middle of its loop and are told by whoever takes them."""

    def __init__(self, cfg: Any) -> None:
        self.listeners: list[Any] = []
        super().__init__(cfg)

    def tell(self, event: str, *args: Any) -> None:
        """Call the method named `event` of every listener that has one, with this trainer and `args`."""
        for listener in self.listeners:
            method = getattr(listener, event, None)
            if method is not None:
                method(self, *args)

    def resume_model_if_exist(self, directory: str) -> int:
        """Restore the newest checkpoint of every registered model, if all have one.

        What the run itself has saved takes precedence over RESUME, where it began. A run that was killed before its
        first checkpoint was whole begins anew.

        Args:
            directory: RESUME, or else the run's own.

        Returns:
            The 0-based epoch to continue with.

        Raises:
            ValueError: there is nothing in RESUME, or the checkpoint is one of dassl-core's from inside an epoch, or of
                an epoch that this run has not.
        """
        names = self.get_model_names()
        directory = next((place for place in (self.output_dir, directory) if _newest(place, names)), directory)
        newest = _newest(directory, names)
        if not newest:
            if directory != self.output_dir:
                raise ValueError(f'RESUME is "{directory}", which holds no checkpoint of {", ".join(names)}.')
            print("No checkpoint found, train from scratch")
            return 0
        inside = [file for file in newest if "-batch-" in file.name]
        if inside:
            raise ValueError(
                f"{inside[0]} was saved inside an epoch, and only dassl-core resumes there: finish the run with "
                f"dassl-core, or write the name of another checkpoint into {inside[0].with_name('checkpoint')}."
            )
        epoch = super().resume_model_if_exist(directory)
        if not 0 <= epoch <= self.max_epoch:
            raise ValueError(
                f"{newest[0]} is of epoch {epoch}, but OPTIM.MAX_EPOCH is {self.max_epoch}; raise that, or train in "
                "another directory."
            )
        best = newest[0].with_name("model-best.pth.tar")
        result = load_checkpoint(str(best)).get("val_result") if best.is_file() else None
        self.best_result = self.best_result if result is None else result  # later epochs are measured by it
        return epoch

    def run_epoch(self) -> None:
        """Train for one epoch."""
        self.tell("epoch_begins")
        super().run_epoch()
        self.tell("epoch_ends")

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        """Save every registered model."""
        self.tell("checkpoint_begins")
        super().save_model(*args, **kwargs)

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Evaluate on "test" or "val" and return the first metric. Raises ValueError if there is no val split."""
        split = split or self.cfg.TEST.SPLIT
        loader = self.val_loader if split == "val" else self.test_loader
        if loader is None:
            raise ValueError(f"{self.cfg.DATASET.NAME} has no {split} split; use TEST.SPLIT test.")
        self.set_model_mode("eval")
        self.evaluator.reset()
        print(f"Evaluate on the *{split}* set")
        self.tell("evaluation_begins", split, loader)
        with torch.random.fork_rng(devices=[]):  # a loader draws a seed for its workers; evaluating changes no training
            batches = iter(loader)
        for batch in batches:
            images, labels = self.parse_batch_test(batch)
            scores = self.model_inference(images)
            if not scores.isfinite().all():
                raise FloatingPointError("The model's scores are infinite or NaN: its weights or its precision broke.")
            self.evaluator.process(scores, labels)
            self.tell("batch_evaluated", batch, scores, labels)
        results = self.evaluator.evaluate()
        self.tell("evaluation_ends", split, results)
        for name, value in results.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        return next(iter(results.values()))


def _newest(directory: str, names: list[str]) -> list[Path]:
    """The newest checkpoint of each model in `directory`; [] unless all of them have one."""
    pointers = [Path(directory, name, "checkpoint") for name in names]
    found = [file.with_name(file.read_text().strip()) for file in pointers if file.is_file() and file.stat().st_size]
    return found if len(found) == len(names) else []


ListenedTrainer = UpstreamTrainer if IS_UPSTREAM else TrainerX
"""The engine's trainer, which tells its listeners what happens, whichever Dassl is in place."""
