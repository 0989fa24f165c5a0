"""One run, from the command line that CoOp-style code uses.

python train.py --root /data --seed 1 --trainer RESTORE_m \\
    --dataset-config-file configs/datasets/oxford_pets.yaml \\
    --config-file configs/trainers/RESTORE_m/vit_b16_c2_ep10_batch4.yaml \\
    --output-dir output/pets/seed1 DATASET.NUM_SHOTS 16 DATASET.SUBSAMPLE_CLASSES base
python train.py --trainer RESTORE_m --help-options
python train.py --list-backbones

Its directory gets log.txt, config.yaml, the checkpoints and its record (docs/records.md). The same command again
resumes a run that was interrupted, and leaves a finished one alone. Exit codes: 0 done, 1 failed on the way, 2 not
started, 75 stopped by SIGTERM or Ctrl-C with everything saved: the same command resumes it.

Where a GPU lacks something (the training step cannot be captured as a CUDA graph, an operation has no deterministic
algorithm) the run goes on without, in a fresh process: what failed leaves the device's state in doubt.
"""

import argparse
import os
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from promptclip.common.console import steady_streams
from promptclip.common.names import require
from runs.command_line import RESUMABLE, StopRequest, build_parser, stop_requests

# What a user can put right: answered with one sentence instead of a traceback.
SETUP_ERRORS = (ValueError, LookupError, OSError, ImportError, AssertionError, RuntimeError)


def main(argv: list[str] | None = None) -> int:
    """Do one run and return its exit code; errors are told in one sentence on stderr."""
    given = sys.argv[1:] if argv is None else argv
    with steady_streams():
        console = sys.stdout
        try:
            args = build_parser(__doc__).parse_args(given)
            with stop_requests() as stop:
                code = attempt(args, given, stop)
        finally:
            tee, sys.stdout = sys.stdout, console  # setup_logger put a tee in its place
            if tee is not console:
                tee.close()
    if isinstance(code, int):
        return code
    command = [sys.executable, *sys.orig_argv[1:]] if argv is None else [sys.executable, __file__, *given]
    command += code
    sys.stdout.flush()
    if argv is None:
        os.execv(command[0], command)  # which frees what this process holds of the device
    return subprocess.run(command).returncode


def attempt(args: argparse.Namespace, argv: list[str], stop: StopRequest) -> int | list[str]:
    """Do the run that `args`, read from `argv`, describe, or say why not; its exit code, or with which KEY VALUE pairs
    it is to go on in another process."""
    run = None
    try:
        require("torch", "clip", "dassl", "yacs", "tabulate")
        if getattr(args, "help_options", False):
            from runs.config import describe_options

            print(describe_options(args.trainer))
            return 0
        if getattr(args, "list_backbones", False):
            from promptclip.commands.backbones import backbones

            print(*backbones(), sep="\n")
            return 0
        from runs.run import Run  # only now: it imports what `require` looked for

        run = Run(args, argv)
        if run.finished:
            print(run.summary())
            return 0
        with run.determinism:
            run.build()
            run.started, stop.trainer = True, run.trainer
            run.execute()
        return 0
    except KeyboardInterrupt:
        return stopped(run)
    except Exception as error:
        if stop.explains(error):
            return stopped(run)
        if run and (more := what_goes_without(error, run.cfg)):
            return more
        return failed(run, error)
    finally:
        if run:
            run.directory.release()


def what_goes_without(error: Exception, cfg: Any) -> list[str]:
    """KEY VALUE pairs with which a run goes on that met `error`, and says so; none where there is no such way."""
    # modules that take seconds to import, and without which no such error is met
    graphs, environment = (sys.modules.get(name) for name in ("trainers.cuda_graph", "runs.environment"))
    if graphs and isinstance(error, graphs.CaptureFailed) and cfg.MODEL.CUDA_GRAPH != "off":
        print(f"The training step could not be captured as a CUDA graph ({error}); going on without, anew.")
        return ["MODEL.CUDA_GRAPH", "off"]
    if environment and environment.has_no_deterministic_form(error) and cfg.TRAIN.DETERMINISTIC == "strict":
        print(f"{sentence(error).split(',')[0]} on this device: going on without, anew; the record will say so.")
        return ["TRAIN.DETERMINISTIC", "warn"]
    return []


def stopped(run: Any) -> int:
    """Say how a run that was asked to stop is resumed."""
    print(f"\nstopped: {run.how_to_resume() if run else 'nothing was begun'}", file=sys.stderr)
    return RESUMABLE


def failed(run: Any, error: Exception) -> int:
    """Say in one sentence what went wrong; the traceback goes to the log, or to stderr where there is none."""
    known = isinstance(error, SETUP_ERRORS)
    where = keep_traceback(run)
    if run and run.started or not known:
        if not where and not known:
            traceback.print_exception(error)
        hint = f" (traceback in {where})" if where else ""
        print(f"error: {type(error).__name__}: {sentence(error)}{hint}", file=sys.stderr)
        return 1
    if run:
        with suppress(OSError):
            run.directory.withdraw()
    print(f"error: {sentence(error)}", file=sys.stderr)
    return 2


def sentence(error: Exception) -> str:
    """The message of `error` on one line (str() of a KeyError would quote it)."""
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    if text.startswith("Caught ") and "Original Traceback" in text:  # an error in a loader's worker, with its traceback
        text = text.strip().splitlines()[-1].partition(": ")[2]
    return " ".join(text.split()) or type(error).__name__


def keep_traceback(run) -> Path | None:
    """Append the current traceback to the run's log, if it has one by now, and return that log."""
    try:
        sys.stdout.flush()
        log = run.log() if run else None
        if log:
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{traceback.format_exc()}")
        return log
    except OSError:
        return None  # the disk is full, or the directory gone: the sentence on stderr has to do


if __name__ == "__main__":
    sys.exit(main())
