"""One run from claimed directory to record: what `train.py` does once the command line is parsed."""

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from dassl.engine import build_trainer
from dassl.utils import collect_env_info, set_random_seed, setup_logger
from yacs.config import CfgNode

from runs.checkpoint import identify
from runs.checks import check_batch, check_values
from runs.config import build_config, check_data_root, check_names
from runs.determinism import Determinism
from runs.directory import Claim
from runs.environment import peak_memory
from runs.evaluation import Evaluation
from runs.history import History


class Run:
    """A run that is configured and whose directory is claimed; nothing is read or built yet.

    `command` are the words that `args` were read from, for the record.
    Attributes: `cfg` the frozen configuration, `finished` whether the directory already holds this run's result,
    `started` whether building is over (from then on errors are no longer the command line's fault).
    Raises ValueError, KeyError or FileNotFoundError with a sentence that holds the fix.
    """

    def __init__(self, args: Namespace, command: list[str] | None = None):
        self.args = args
        self.started = False
        self.began = time.time()
        self.cfg = build_config(args)
        check_names(self.cfg)
        check_values(self.cfg)
        check_data_root(self.cfg.DATASET.ROOT)
        if args.load_epoch is not None and not args.model_dir:
            raise ValueError("--load-epoch needs --model-dir, the output directory of the training.")
        checkpoint = identify(Path(args.model_dir), args.load_epoch) if args.eval_only and args.model_dir else None
        self.claim = Claim(self.cfg, "eval" if args.eval_only else "train", checkpoint, command)
        self.directory, self.finished = self.claim.directory, self.claim.finished
        cuda = torch.cuda.is_available() and self.cfg.USE_CUDA
        self.determinism = Determinism(self.cfg.SEED, cuda)

    def build(self) -> None:
        """Seed, open the log, and build data and model."""
        cfg = self.cfg
        if cfg.SEED >= 0:
            print(f"Setting fixed seed: {cfg.SEED}")
            set_random_seed(cfg.SEED)
        setup_logger(cfg.OUTPUT_DIR)
        print_settings(self.args, cfg)
        print(f"Collecting env info ...\n** System info **\n{collect_env_info()}\n")
        self.trainer = build_trainer(cfg)
        if self.args.eval_only:
            self.load_checkpoint()
        else:
            check_batch(cfg, self.trainer)
            guard_saving(self.trainer, self.claim)

    def load_checkpoint(self) -> None:
        """Load what --model-dir names; refuse to evaluate a method that has learnt nothing yet."""
        names = self.trainer.get_model_names()
        if not names:
            return  # zero-shot: nothing is learnt, nothing is loaded
        if not self.args.model_dir:
            raise ValueError(
                f"--eval-only of {self.cfg.TRAINER.NAME} needs --model-dir, the output directory of its training "
                "(and --load-epoch)."
            )
        self.trainer.load_model(self.args.model_dir, epoch=self.args.load_epoch)

    def execute(self) -> None:
        """Train, or evaluate, and complete the record."""
        evaluation, history = Evaluation(self.trainer, self.cfg), History(self.trainer, self.claim)
        if self.args.eval_only:
            self.trainer.test()
        elif not self.args.no_train:
            self.trainer.train()
        else:
            return
        results = evaluation.results() | history.figures()
        if self.cfg.TEST.get("SKIP_BROKEN", False):
            results["broken_images"] = len(self.trainer.broken_images)
        self.claim.check()
        evaluation.write(self.directory)
        results |= self.determinism.record() | peak_memory(self.determinism.cuda)
        self.claim.complete(results | {"wall_seconds": round(time.time() - self.began, 3)})

    def summary(self) -> str:
        """One line on a finished run: result and place."""
        accuracy = self.claim.record.get("accuracy")
        result = "no test" if accuracy is None else f"accuracy {accuracy:.1f}%"
        return f"Finished before, not repeated: {result} ({self.directory / 'metrics.json'})"

    def how_to_resume(self) -> str:
        """One line for after Ctrl-C."""
        kept = sorted(self.directory.glob("*/model.pth.tar-*"), key=lambda path: path.stat().st_mtime)
        point = f"from {kept[-1]}" if kept and not self.args.eval_only else "from its beginning"
        return f"the same command takes {self.directory} up again {point}."

    def log(self) -> Path | None:
        """The newest log in the directory since this run began, if there is one."""
        logs = [path for path in self.directory.glob("log.txt*") if path.stat().st_mtime >= self.began - 1]
        return max(logs, key=lambda path: path.stat().st_mtime, default=None)


def guard_saving(trainer: Any, claim: Claim) -> None:
    """Have every checkpoint preceded by a look whether the directory is still there and this run's."""
    save = trainer.save_model

    def guarded(*args: Any, **kwargs: Any) -> None:
        claim.check()
        save(*args, **kwargs)

    trainer.save_model = guarded


def print_settings(args: Namespace, cfg: CfgNode) -> None:
    """Arguments and configuration under the family's headings."""
    print("***************\n** Arguments **\n***************")
    for key, value in sorted(vars(args).items()):
        print(f"{key}: {value}")
    print(f"************\n** Config **\n************\n{cfg}")
