"""One run from its directory to its record: what `train.py` does once the command line is parsed."""

import os
import time
from argparse import Namespace
from pathlib import Path

import torch
from dassl.engine import build_trainer
from dassl.utils import collect_env_info, set_random_seed, setup_logger
from yacs.config import CfgNode

from promptclip.common.names import require
from runs.classifier import write_classifier
from runs.config import build_config, check_names, check_places, check_trainer, check_values
from runs.directory import RunDirectory, checkpoints_in
from runs.environment import Determinism, peak_memory
from runs.evaluation import Evaluation
from runs.history import History
from runs.possible import base_classes, impossible, unsupported
from runs.record import identify, is_joint, training_settings
from runs.tracking import log_run


class Run:
    """A run that is configured and holds its directory; nothing is read or built yet.

    `command` are the words that `args` were read from, for the record.
    Attributes: `cfg` the frozen configuration, `directory`, `finished` whether that already holds this run's result,
    `started` whether building is over (from then on errors are no longer the command line's fault).
    Raises ValueError, KeyError or FileNotFoundError with a sentence that holds the fix.
    """

    def __init__(self, args: Namespace, command: list[str] | None = None):
        self.args = args
        self.started = False
        self.began = time.time()
        self.tracked = getattr(args, "wandb", False)
        if self.tracked:
            require("wandb")
        self.cfg = build_config(args)
        check_names(self.cfg)
        check_values(self.cfg)
        check_places(self.cfg)
        if args.load_epoch is not None and not args.model_dir:
            raise ValueError("--load-epoch needs --model-dir, the output directory of the training.")
        origin = Path(self.cfg.RESUME) if self.cfg.RESUME and not args.eval_only else None
        if origin and not checkpoints_in(Path(self.cfg.OUTPUT_DIR)) and not checkpoints_in(origin):
            raise ValueError(
                f"RESUME (--resume) is {origin}, which holds no checkpoint; name the output directory of a training, "
                "or leave it out to begin anew."
            )
        checkpoint = identify(Path(args.model_dir), args.load_epoch) if args.eval_only and args.model_dir else None
        self.mode = "eval" if args.eval_only else "train"
        self.checkpoint = checkpoint
        self.directory = RunDirectory(self.cfg, self.mode, checkpoint, command)
        self.finished = self.directory.finished
        training = training_settings(Path(checkpoint["directory"])) if checkpoint else {}
        self.joint = is_joint(self.cfg, self.mode, checkpoint, training)
        reason = impossible(self.cfg, self.mode, training)
        if reason and not self.finished:
            self.directory.complete(unsupported(reason))
            self.finished = True
        cuda = torch.cuda.is_available() and self.cfg.USE_CUDA
        self.determinism = Determinism(self.cfg.SEED, cuda, self.cfg.TRAIN.DETERMINISTIC == "strict")

    def build(self) -> None:
        """Seed, open the log, and build data and model."""
        cfg = self.cfg
        if cfg.SEED >= 0:
            print(f"Setting fixed seed: {cfg.SEED}")
            set_random_seed(cfg.SEED)
        self.directory.check()
        setup_logger(os.path.join(cfg.OUTPUT_DIR, "log.txt"))  # a directory may be called run.log
        print_settings(self.args, cfg)
        print(f"Collecting env info ...\n** System info **\n{collect_env_info()}\n")
        self.trainer = build_trainer(cfg)
        check_trainer(cfg, self.trainer, trains=not self.args.eval_only)
        names = list(getattr(self.trainer.dm.dataset, "classnames", ()))
        self.base_classes = base_classes(names, self.checkpoint) if self.joint and len(names) > 1 else None
        if self.args.eval_only:
            self.load_checkpoint()
        self.directory.check()

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
        evaluation, history = (
            Evaluation(self.trainer, self.cfg, self.base_classes),
            History(self.trainer, self.directory),
        )
        if hasattr(self.trainer, "listeners"):
            self.trainer.listeners += [self.directory, evaluation, history]
        accuracy = None
        if self.args.eval_only:
            accuracy = self.trainer.test()
        elif not self.args.no_train:
            self.trainer.train()
        else:
            return
        results = evaluation.results() | history.figures()
        untold = evaluation.predictions is None and not self.cfg.TEST.NO_TEST  # by a trainer with a test of its own
        if untold:
            print(f"Note: {self.cfg.TRAINER.NAME} tells nothing of its evaluation, so the record lacks most figures.")
            results["accuracy"] = accuracy
        if self.cfg.TEST.get("SKIP_BROKEN", False):
            results["broken_images"] = len(self.trainer.broken_images)
        dataset = self.trainer.dm.dataset
        results["short_classes"] = None if self.args.eval_only else getattr(dataset, "short_classes", None)
        self.directory.check()
        evaluation.write(self.directory.path)
        if not self.args.eval_only:
            write_classifier(self.trainer, self.cfg, self.directory.path, self.directory.record | results)
        results |= self.determinism.record() | peak_memory(self.determinism.cuda)
        self.directory.complete(results | {"wall_seconds": round(time.time() - self.began, 3)})
        if self.tracked:
            self.track()

    def track(self) -> None:
        """Log the finished record; what stands in the way costs no run."""
        try:
            print(f"Weights & Biases: {log_run(self.directory.path)}")
        except Exception as error:  # of a package that speaks to a network
            again = f"python -m runs.tracking {self.directory.path}"
            print(f"Note: Weights & Biases took nothing ({error}); `{again}` tries it again.")

    def summary(self) -> str:
        """One line on a finished run: result and place."""
        accuracy, reason = (self.directory.record.get(key) for key in ("accuracy", "unsupported"))
        if reason:
            return f"Not possible: {reason} ({self.directory.path / 'metrics.json'} says so)"
        result = "no test" if accuracy is None else f"accuracy {accuracy:.1f}%"
        return f"Finished before, not repeated: {result} ({self.directory.path / 'metrics.json'})"

    def how_to_resume(self) -> str:
        """One line for after Ctrl-C."""
        path = self.directory.path
        kept = sorted(path.glob("*/model.pth.tar-*"), key=lambda file: file.stat().st_mtime)
        point = f"from {kept[-1]}" if kept and not self.args.eval_only else "from its beginning"
        return f"the same command resumes {path} {point}."

    def log(self) -> Path | None:
        """The newest log in the directory since this run began, if there is one."""
        logs = [file for file in self.directory.path.glob("log.txt*") if file.stat().st_mtime >= self.began - 1]
        return max(logs, key=lambda file: file.stat().st_mtime, default=None)


def print_settings(args: Namespace, cfg: CfgNode) -> None:
    """Arguments and configuration under the headings that CoOp gives them."""
    print("***************\n** Arguments **\n***************")
    for key, value in sorted(vars(args).items()):
        print(f"{key}: {value}")
    print(f"************\n** Config **\n************\n{cfg}")
