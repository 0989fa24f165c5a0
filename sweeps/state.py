"""What is on disk of a run: finished, in use, or still to do."""

import os
from pathlib import Path

from yacs.config import CfgNode

from runs.checkpoint import identify
from runs.directory import is_finished, refuse_other, refuse_other_kind
from runs.lock import NAME, holder, lock
from runs.record import begin_record, read_config, read_record
from sweeps.run import Run


def finished(run: Run, cfg: CfgNode) -> bool:
    """Whether the run's directory holds its complete record, of the same configuration and the same checkpoint.

    Raises ValueError, in train.py's own sentence, if the directory belongs to another run or its record is damaged.
    """
    directory = Path(run.directory)
    stored, earlier = read_config(directory), read_record(directory)
    if stored is None:
        return False
    refuse_other(cfg, stored, directory)
    if earlier is None:
        return False
    try:
        checkpoint = identify(Path(run.needs), run.epochs) if run.needs else None
    except FileNotFoundError:
        return False
    record = begin_record(cfg, "train" if run.trains else "eval", checkpoint)
    refuse_other_kind(record, earlier, directory)
    return is_finished(record, earlier)


def in_use(run: Run) -> str | None:
    """Who is at work in the run's directory, in words; None if nobody is.

    After a SIGKILL of the sweep its runs go on by themselves; a run may also have been started by hand.
    """
    path = Path(run.directory) / NAME
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return None  # no lock, or none that we may try: the run itself will say so
    try:
        return holder(path) if lock(file) is False else None
    finally:
        os.close(file)
