"""The command line of one run: its arguments, the signals that stop it, its exit code. Imports nothing heavy."""

import argparse
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from promptclip.common.names import nearest

RESUMABLE = 75
"""Exit code of a run that was stopped: the same command resumes it (EX_TEMPFAIL, "try again later")."""


class Parser(argparse.ArgumentParser):
    """Tells what is wrong in one sentence, with the nearest option, instead of listing the usage."""

    def error(self, message: str) -> NoReturn:
        """End the program with code 2."""
        found = re.search(r"unrecognized arguments: (--\S+)", message)
        guess = nearest(found.group(1), self._option_string_actions) if found else None
        hint = f"did you mean {guess}? " if guess else ""
        self.exit(2, f"error: {message}; {hint}--help lists all options.\n")


class NotEmpty(argparse.Action):
    """Refuses what a shell's variable that is not set gives: the default would be taken without a word."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, value: Any, option: str | None = None) -> None:
        """Keep the value."""
        if not value.strip():
            parser.error(f"{option} is empty: give it a value, or leave it out")
        setattr(namespace, self.dest, value)


def build_parser(description: str) -> argparse.ArgumentParser:
    """CoOp's command line, all of it."""
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    path = os.path.expanduser
    parser.add_argument("--root", default="", help="directory that holds the data sets")
    parser.add_argument("--output-dir", action=NotEmpty, default="", help="directory of this run")
    parser.add_argument(
        "--resume", action=NotEmpty, default="", help="directory of checkpoints to resume from, if not --output-dir"
    )
    parser.add_argument("--seed", type=int, default=None, help="0 or more fixes all random numbers; -1 fixes none")
    parser.add_argument("--source-domains", nargs="+", help="source domains, for domain generalisation")
    parser.add_argument("--target-domains", nargs="+", help="target domains, for domain generalisation")
    parser.add_argument("--transforms", nargs="+", help="data augmentation, in place of the yaml's")
    parser.add_argument("--config-file", type=path, action=NotEmpty, default="", help="yaml file of the method")
    parser.add_argument(
        "--dataset-config-file", type=path, action=NotEmpty, default="", help="yaml file of the data set"
    )
    parser.add_argument("--trainer", default="", help="registered name of the method")
    parser.add_argument("--backbone", default="", help="name or file of a CLIP (docs/backbones.md)")
    parser.add_argument("--head", default="", help="name of the head (no method here has one)")
    parser.add_argument("--eval-only", action="store_true", help="evaluate a checkpoint, do not train")
    parser.add_argument("--model-dir", type=path, default="", help="with --eval-only: output directory of the training")
    parser.add_argument("--load-epoch", type=int, help="with --eval-only: epoch of the checkpoint (else the best one)")
    parser.add_argument("--no-train", action="store_true", help="build everything, but do not train")
    parser.add_argument(  # absent unless asked for: arguments are printed, as CoOp prints them
        "--help-options", action="store_true", default=argparse.SUPPRESS, help="print the options of --trainer"
    )
    parser.add_argument(
        "--list-backbones", action="store_true", default=argparse.SUPPRESS, help="list what --backbone knows"
    )
    parser.add_argument(
        "--wandb", action="store_true", default=argparse.SUPPRESS, help="log the record to Weights & Biases at the end"
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE pairs, over the yaml files")
    return parser


class StopRequest:
    """Hears SIGTERM (Slurm's preemption) and SIGINT (Ctrl-C): finish the training step, save, leave with code 75.

    Attributes: `trainer`, who is asked to stop once there is one; `heard`, whether it was.
    """

    def __init__(self) -> None:
        self.trainer: Any = None
        self.heard = False

    def __call__(self, number: int, frame: Any) -> None:
        """Ask the trainer to stop after its step; KeyboardInterrupt at once without one, or at a second Ctrl-C."""
        hurry, self.heard = self.heard and number == signal.SIGINT, True
        if hurry or not hasattr(self.trainer, "stop_requested"):
            raise KeyboardInterrupt
        if not self.trainer.stop_requested:
            print(f"\n{signal.Signals(number).name}: saving after this step", file=sys.stderr)
        self.trainer.stop_requested = True

    def explains(self, error: BaseException) -> bool:
        """Whether `error` comes from the same signal, which reached a loader's worker as well."""
        return self.heard and isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Hear both signals for a while; in another thread than the main one Python allows none of it."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
