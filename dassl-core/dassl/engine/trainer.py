"""The loops over the batches of an epoch: labelled data alone, or labelled and unlabelled data side by side."""

import datetime
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from dassl.engine.simple import SimpleTrainer
from dassl.engine.stopping import Stopped
from dassl.utils import AverageMeter, CheckpointError, MetricMeter, get_rng_state
from dassl.utils.names import check_availability


class _BatchLoop(SimpleTrainer):
    """Goes through the batches of an epoch, logging as it goes; subclasses say which steps an epoch has."""

    def _steps(self) -> tuple[int, Iterable[tuple]]:
        """Return the number of steps and the arguments of forward_backward for each."""
        raise NotImplementedError

    def run_epoch(self) -> None:
        """Train for one epoch; sets self.num_batches and self.batch_idx on the way."""
        self.set_model_mode("train")
        losses, batch_time, data_time = MetricMeter(), AverageMeter(), AverageMeter()
        resumed = self.restore_start_of_epoch()
        start_rng = get_rng_state()
        self.num_batches, steps = self._steps()
        end = time.time()
        for self.batch_idx, batches in enumerate(steps):
            if resumed is not None:  # done before the run was stopped: loaded again only to draw the same order
                if self.batch_idx + 1 == resumed["batches"]:
                    self.go_on_inside_epoch(resumed, losses)
                    resumed, end = None, time.time()
                continue
            data_time.update(time.time() - end)
            summary = self.forward_backward(*batches)
            losses.update(summary)
            self.tell("step_ends", batches, summary)
            batch_time.update(time.time() - end)
            freq = self.cfg.TRAIN.PRINT_FREQ
            if (self.batch_idx + 1) % freq == 0 or self.num_batches < freq:
                print(self._progress(losses, batch_time, data_time))
            step = self.epoch * self.num_batches + self.batch_idx
            for name, meter in losses.meters.items():
                self.write_scalar(f"train/{name}", meter.avg, step)
            self.write_scalar("train/lr", self.get_current_lr(), step)
            if self.stop_requested:
                self.save_inside_epoch(self.batch_idx + 1, start_rng, losses)
                raise Stopped
            end = time.time()
        if resumed is not None:
            raise CheckpointError(
                f"The run was stopped after batch {resumed['batches']}, but its epoch has {self.num_batches} now: "
                "the training set has changed. Restore it, or start anew in another directory."
            )

    def _progress(self, losses: MetricMeter, batch_time: AverageMeter, data_time: AverageMeter) -> str:
        """Word the log line of the present batch; parsers depend on its text."""
        left = self.num_batches - self.batch_idx - 1 + (self.max_epoch - self.epoch - 1) * self.num_batches
        parts = [
            f"epoch [{self.epoch + 1}/{self.max_epoch}]",
            f"batch [{self.batch_idx + 1}/{self.num_batches}]",
            f"time {batch_time.val:.3f} ({batch_time.avg:.3f})",
            f"data {data_time.val:.3f} ({data_time.avg:.3f})",
            str(losses),
            f"lr {self.get_current_lr():.4e}",
            f"eta {datetime.timedelta(seconds=int(batch_time.avg * left))}",
        ]
        return " ".join(parts)


class TrainerX(_BatchLoop):
    """Trains on labelled data: subclasses implement forward_backward(batch)."""

    def _steps(self) -> tuple[int, Iterable[tuple]]:
        return len(self.train_loader_x), ((batch,) for batch in self.train_loader_x)

    def parse_batch_train(self, batch: dict) -> Any:
        """Return images (B, 3, H, W), labels (B) and domains (B) on the device."""
        return tuple(batch[key].to(self.device) for key in ("img", "label", "domain"))


class TrainerXU(_BatchLoop):
    """Trains on labelled and unlabelled data: subclasses implement forward_backward(batch_x, batch_u).

    TRAIN.COUNT_ITER says which of the two ends an epoch; the shorter one starts again as often as needed.
    """

    def _steps(self) -> tuple[int, Iterable[tuple]]:
        check_availability(self.cfg.TRAIN.COUNT_ITER, ("train_x", "train_u", "smaller_one"), "TRAIN.COUNT_ITER")
        if self.train_loader_u is None:
            raise ValueError(f"{self.cfg.DATASET.NAME} has no unlabelled set (train_u), which this trainer needs.")
        len_x, len_u = len(self.train_loader_x), len(self.train_loader_u)
        num = {"train_x": len_x, "train_u": len_u, "smaller_one": min(len_x, len_u)}[self.cfg.TRAIN.COUNT_ITER]
        pairs = zip(_endless(self.train_loader_x), _endless(self.train_loader_u), strict=False)
        return num, (pair for _, pair in zip(range(num), pairs, strict=False))

    def parse_batch_train(self, batch_x: dict, batch_u: dict) -> Any:
        """Return labelled images, their labels and unlabelled images on the device."""
        return batch_x["img"].to(self.device), batch_x["label"].to(self.device), batch_u["img"].to(self.device)


def _endless(loader: Iterable[dict]) -> Iterator[dict[str, torch.Tensor]]:
    while True:
        yield from loader
