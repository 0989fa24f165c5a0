"""Trainers of one model on one data set: on labelled data alone, or on labelled and unlabelled data side by side."""

import datetime
import os.path as osp
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from dassl.data import DataManager
from dassl.data.data_manager import BROKEN
from dassl.engine.base import Stopped, TrainerBase
from dassl.engine.net import SimpleNet
from dassl.evaluation import build_evaluator
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import (
    AverageMeter,
    CheckpointError,
    MetricMeter,
    Registry,
    check_availability,
    count_num_param,
    get_rng_state,
    load_pretrained_weights,
)
from dassl.utils.images import printable

TRAINER_REGISTRY = Registry("TRAINER")


def build_trainer(cfg: Any) -> Any:
    """Return the trainer cfg.TRAINER.NAME names, ready to train. Raises UnknownName with the nearest name."""
    return TRAINER_REGISTRY.build(cfg.TRAINER.NAME, cfg, verbose=cfg.VERBOSE)


class SimpleTrainer(TrainerBase):
    """Builds loaders, model and evaluator from the configuration and implements the hooks around training."""

    def __init__(self, cfg: Any):
        super().__init__()
        self.check_cfg(cfg)
        check_availability(cfg.TEST.FINAL_MODEL, ("last_step", "best_val"), "TEST.FINAL_MODEL")
        if cfg.TRAIN.PRINT_FREQ < 1:
            raise ValueError(f"TRAIN.PRINT_FREQ must be at least 1, not {cfg.TRAIN.PRINT_FREQ}.")
        self.device = torch.device("cuda" if torch.cuda.is_available() and cfg.USE_CUDA else "cpu")
        self.start_epoch = self.epoch = 0
        self.max_epoch = cfg.OPTIM.MAX_EPOCH
        self.output_dir = cfg.OUTPUT_DIR
        self.cfg = cfg
        self.build_data_loader()
        self.build_model()
        self.evaluator = build_evaluator(cfg, lab2cname=self.lab2cname)
        self.best_result = -float("inf")

    def check_cfg(self, cfg: Any) -> None:
        """Hook: refuse settings that this trainer cannot use."""

    def build_data_loader(self) -> None:
        """Build the data manager and take its loaders over."""
        dm = DataManager(self.cfg)
        self.train_loader_x = dm.train_loader_x
        self.train_loader_u = dm.train_loader_u
        self.val_loader = dm.val_loader
        self.test_loader = dm.test_loader
        self.num_classes = dm.num_classes
        self.num_source_domains = dm.num_source_domains
        self.lab2cname = dm.lab2cname
        self.dm = dm

    def build_model(self) -> None:
        """Build and register a backbone with a linear classifier; prompt learners build their own model instead."""
        cfg = self.cfg
        print("Building model")
        self.model = SimpleNet(cfg, cfg.MODEL, self.num_classes)
        if cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(self.model, cfg.MODEL.INIT_WEIGHTS)
        self.model.to(self.device)
        print(f"# params: {count_num_param(self.model):,}")
        self.optim = build_optimizer(self.model, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("model", self.model, self.optim, self.sched)
        gpus = torch.cuda.device_count() if self.device.type == "cuda" else 0
        if gpus > 1:
            print(f"Detected {gpus} GPUs (use nn.DataParallel)")
            self.model = nn.DataParallel(self.model)

    def train(self) -> None:
        """Train from the configuration's first epoch, or from where OUTPUT_DIR or RESUME left off."""
        super().train(self.start_epoch, self.max_epoch)

    def before_train(self) -> None:
        """Resume if there is something to resume, and open TensorBoard.

        What the run itself has saved in OUTPUT_DIR takes precedence over RESUME, where it began.

        Raises:
            CheckpointError: what there is cannot be resumed.
        """
        if self.cfg.RESUME and not self.has_checkpoints(self.output_dir):
            self.start_epoch = self.resume_model_if_exist(self.cfg.RESUME)
            if not self.has_checkpoints(self.cfg.RESUME):
                raise CheckpointError(
                    f'RESUME is "{self.cfg.RESUME}", which holds no checkpoint of {", ".join(self.get_model_names())}.'
                )
        else:
            self.start_epoch = self.resume_model_if_exist(self.output_dir)
        if self.start_epoch > self.max_epoch:
            raise CheckpointError(
                f'The run in "{self.output_dir}" was trained for {self.start_epoch} epochs, more than OPTIM.MAX_EPOCH '
                f"({self.max_epoch}) asks for; raise that, or train in another directory."
            )
        if self.start_epoch:
            # Where nothing is left to train, the final evaluation still belongs to the last epoch.
            self.epoch = self.start_epoch - 1
        self.init_writer(osp.join(self.output_dir, "tensorboard"))
        self.time_start = time.time()

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
                    self.resume_inside_epoch(resumed, losses)
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
                "the training set has changed. Restore it, or start again in another directory."
            )

    def _progress(self, losses: MetricMeter, batch_time: AverageMeter, data_time: AverageMeter) -> str:
        """Return the log line of the present batch; parsers depend on its text."""
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

    def after_epoch(self) -> None:
        """Evaluate on val for FINAL_MODEL best_val, and save where it is due."""
        done = self.epoch + 1
        if not self.cfg.TEST.NO_TEST and self.cfg.TEST.FINAL_MODEL == "best_val":
            result = self.test(split="val")
            if result > self.best_result:
                self.best_result = result
                self.save_model(self.epoch, self.output_dir, val_result=result, model_name="model-best.pth.tar")
        freq = self.cfg.TRAIN.CHECKPOINT_FREQ
        if done == self.max_epoch or (freq > 0 and done % freq == 0):
            self.save_model(self.epoch, self.output_dir)

    def after_train(self) -> None:
        """Evaluate the final model and close up."""
        print("Finish training")
        if not self.cfg.TEST.NO_TEST:
            if self.cfg.TEST.FINAL_MODEL == "best_val":
                print("Deploy the model with the best val performance")
                self.load_model(self.output_dir)
            else:
                print("Deploy the last-epoch model")
            self.test()
        print(f"Elapsed: {datetime.timedelta(seconds=round(time.time() - self.time_start))}")
        self.close_writer()

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Evaluate on a split and return the first metric: accuracy in per cent.

        With TEST.SKIP_BROKEN the sentences on unreadable images are in `self.broken_images`.

        Args:
            split: "test" or "val"; TEST.SPLIT by default.

        Raises:
            ValueError: the data set has no val split; testing on another one unasked would select on test data.
            FloatingPointError: scores are NaN or infinite, of which an accuracy would mean nothing.
        """
        split = self.cfg.TEST.SPLIT if split is None else split
        check_availability(split, ("test", "val"), "split")
        loader = self.val_loader if split == "val" else self.test_loader
        if loader is None:
            raise ValueError(
                f"{self.cfg.DATASET.NAME} has no {split} split; use TEST.SPLIT test and TEST.FINAL_MODEL last_step."
            )
        self.set_model_mode("eval")
        self.evaluator.reset()
        print(f"Evaluate on the *{split}* set")
        self.tell("evaluation_begins", split, loader)
        # The bar goes to stderr and only to a terminal, so that it never ends up in a log.
        self.broken_images = []
        for batch in tqdm(loader, file=sys.stderr, disable=not sys.stderr.isatty(), leave=False):
            if self.stop_requested and not self._in_epochs:
                raise Stopped
            self.broken_images += batch.pop(BROKEN, [])
            if not batch:
                continue
            input, label = self.parse_batch_test(batch)
            scores = self.model_inference(input)
            self._check_scores(scores, batch)
            self.evaluator.process(scores, label)
            self.tell("batch_evaluated", batch, scores, label)
        if self.broken_images:
            print(f"* skipped: {len(self.broken_images):,} broken images, which count nowhere")
            print("\n".join(self.broken_images))
        results = self.evaluator.evaluate()
        self.tell("evaluation_ends", split, results)
        for name, value in results.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        return next(iter(results.values()))

    def _check_scores(self, scores: Any, batch: dict) -> None:
        """Raise FloatingPointError that names the first image whose scores (B, K) are not finite."""
        if not isinstance(scores, torch.Tensor) or torch.isfinite(scores).all():
            return
        broken = (~torch.isfinite(scores.reshape(len(scores), -1)).all(dim=1)).nonzero()[0].item()
        image = f'"{batch["impath"][broken]}"' if "impath" in batch else "an image"
        raise FloatingPointError(
            printable(
                f"The scores of {image} are NaN or infinite: the weights or the precision broke. "
                "Evaluate an earlier checkpoint, or in single precision (PREC fp32)."
            )
        )

    def model_inference(self, input: torch.Tensor) -> torch.Tensor:
        """Return the scores (B, K) of a test batch."""
        return self.model(input)

    def parse_batch_test(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images (B, 3, H, W) and labels (B) on the device."""
        return batch["img"].to(self.device), batch["label"].to(self.device)


class TrainerX(SimpleTrainer):
    """Trains on labelled data: subclasses implement forward_backward(batch)."""

    def _steps(self) -> tuple[int, Iterable[tuple]]:
        return len(self.train_loader_x), ((batch,) for batch in self.train_loader_x)

    def parse_batch_train(self, batch: dict) -> Any:
        """Return images (B, 3, H, W), labels (B) and domains (B) on the device."""
        return tuple(batch[key].to(self.device) for key in ("img", "label", "domain"))


class TrainerXU(SimpleTrainer):
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
