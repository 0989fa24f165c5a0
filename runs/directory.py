"""A run's output directory: held for one configuration, recognised when it is finished, never mixed."""

import os
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from promptclip.common.files import InUse, Lock
from runs.environment import git_commit, versions
from runs.record import (
    begin_record,
    differences,
    for_training,
    nested,
    read_config,
    read_record,
    write_config,
    write_record,
)

ELSEWHERE = "choose another --output-dir, or move that directory away"
LOCK = ".lock"
"""Name of the file in a run's directory that is locked by whoever is at work in it."""


class RunDirectory:
    """cfg.OUTPUT_DIR, held by one run; a listener that forbids checkpoints once the directory is gone.

    Attributes: `path`; `record` (complete if `finished`, otherwise just begun); `finished` whether the run's result is
    there already. A directory that a run of the same configuration left unfinished is taken over: training resumes in
    it. Raises ValueError if the directory belongs to another run or is in use by another process, OSError if it cannot
    be written.
    """

    def __init__(self, cfg: CfgNode, mode: str, checkpoint: dict[str, Any] | None, command: list[str] | None = None):
        self.path = Path(cfg.OUTPUT_DIR)
        self.record = begin_record(cfg, mode, checkpoint, command)
        self.lock = Lock(self.path / LOCK)
        self.examine(cfg)
        if self.finished:
            return
        self.take()
        try:
            self.examine(cfg)  # again: another process may have been at work until just now
            if self.finished:
                self.lock.release()
                return
            if self.stored != nested(cfg):
                write_config(keep_origin(cfg, self.stored if checkpoints_in(self.path) else None), self.path)
            self.record |= {"versions": versions(), "git_commit": git_commit()}
            write_record(self.record, self.path)
        except BaseException:
            self.lock.release()
            raise

    def examine(self, cfg: CfgNode) -> None:
        """See whose the directory is: sets `stored`, its configuration, and `finished`.

        Raises ValueError if it is another run's.
        """
        self.stored, self.finished = read_config(self.path), False
        earlier = earlier_record(self.path, cfg, self.record)
        # features that were not asked for before are made by evaluating again
        wanted = cfg.TEST.SAVE_FEATURES and not (self.path / "features.npz").is_file()
        if earlier is not None and is_finished(self.record, earlier) and not wanted:
            self.record, self.finished = earlier, True

    def take(self) -> None:
        """Make and lock the directory."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            dead = self.lock.take()
        except InUse as error:
            raise ValueError(
                f"{self.path} is in use by {error.holder}; wait for that run, or choose another --output-dir."
            ) from None
        except OSError as error:
            raise OSError(
                f"The output directory {self.path} cannot be written ({error.strerror or error}); make it writable, or "
                "choose another --output-dir."
            ) from error
        if dead:
            print(f"Taking over {self.path} from {dead}, which is dead.")

    def check(self) -> None:
        """Raise FileNotFoundError if the directory was removed, or replaced, under the run."""
        if not self.lock.is_intact():
            raise FileNotFoundError(
                f"The output directory {self.path} was removed or replaced while the run was writing to it; nothing "
                "more is saved. Restore it, or start anew in another directory."
            )

    def checkpoint_begins(self, trainer: Any) -> None:
        """Look before every checkpoint."""
        self.check()

    def complete(self, results: dict[str, Any]) -> None:
        """Write the record of the finished run."""
        self.check()
        self.record = self.record | results | {"complete": True}
        write_record(self.record, self.path)

    def withdraw(self) -> None:
        """Give the directory free again after a setup error, so that a corrected command may use it."""
        if self.stored is None and self.lock.is_intact():
            for name in ("config.yaml", "metrics.json"):
                (self.path / name).unlink(missing_ok=True)

    def release(self) -> None:
        """Let other processes at the directory."""
        self.lock.release()


def earlier_record(directory: Path, cfg: CfgNode, record: dict[str, Any]) -> dict[str, Any] | None:
    """The record that an earlier start of this very run left in `directory`; None if there is none.

    Args:
        directory: the run's output directory.
        cfg: the run's configuration.
        record: the run's record as `begin_record` makes it.

    Raises:
        ValueError: the directory belongs to another run, or its files are damaged.
    """
    stored, earlier = read_config(directory), read_record(directory)
    if stored is None:
        refuse_foreign(directory)
    else:
        refuse_other(cfg, stored, earlier, record["mode"], directory)
    if earlier is not None:
        refuse_other_kind(record, earlier, directory)
    return earlier


def keep_origin(cfg: CfgNode, stored: dict[str, Any] | None) -> CfgNode:
    """`cfg`, with the directory that the run was resumed from at first if this start does not repeat it."""
    origin = (stored or {}).get("RESUME")
    if cfg.RESUME or not isinstance(origin, str):
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.RESUME = origin
    return cfg


def checkpoints_in(directory: Path) -> list[Path]:
    """All checkpoints of a run."""
    return sorted(directory.glob("*/model*.pth.tar*"))


def refuse_foreign(directory: Path) -> None:
    """Refuse a directory with checkpoints of unknown configuration: training would resume from them."""
    checkpoints = checkpoints_in(directory)
    if checkpoints:
        raise ValueError(
            f"{directory} holds checkpoints ({checkpoints[0].relative_to(directory)}) but no config.yaml that says "
            f"which run they belong to; {ELSEWHERE}."
        )


def refuse_other(
    cfg: CfgNode, stored: dict[str, Any], earlier: dict[str, Any] | None, mode: str, directory: Path
) -> None:
    """Refuse a directory whose config.yaml disagrees in anything that can change the result.

    To an evaluation, what only concerns a training is no disagreement. Nor is, to a training that has no result yet,
    what only concerns its evaluation; but the best epoch on val is found among all epochs or not at all.
    """
    trained, complete = bool(checkpoints_in(directory)), bool((earlier or {}).get("complete"))

    def counts(key: str) -> bool:
        if mode == "eval":
            return not for_training(key, cfg.TRAINER.NAME)
        evaluates = key.startswith(("TEST.", "DATALOADER.TEST.")) and not (trained and key == "TEST.FINAL_MODEL")
        return complete or not evaluates

    different = differences(cfg, stored, counts)
    if different:
        raise ValueError(
            f"{directory} belongs to a run of another configuration ({'; '.join(different)}); {ELSEWHERE}."
        )
    begun = stored.get("RESUME") or ""
    elsewhere = cfg.RESUME and not any(same_place(cfg.RESUME, place) for place in (begun, directory))
    if mode == "train" and elsewhere and (trained or complete):
        raise ValueError(
            f"{directory} holds a run that {f'was resumed from {begun}' if begun else 'began anew'}, so that RESUME "
            f"{cfg.RESUME} (--resume) would be ignored; leave it out, or choose another --output-dir."
        )


def same_place(one: Any, other: Any) -> bool:
    """Whether two paths name the same directory."""
    return os.path.realpath(str(one)) == os.path.realpath(str(other))


def refuse_other_kind(record: dict[str, Any], earlier: dict[str, Any], directory: Path) -> None:
    """Refuse to evaluate where training went, or one checkpoint where another was evaluated.

    Content decides (a moved directory is still the same); a checkpoint of the same name with new content, from
    repeated training, is evaluated anew.
    """
    if earlier.get("mode") == "eval" and not earlier.get("complete"):
        return  # interrupted: no result to protect
    if earlier.get("mode") != record["mode"]:
        kinds = {"train": "a training run", "eval": "an evaluation (--eval-only)"}
        raise ValueError(f"{directory} belongs to {kinds.get(earlier.get('mode'), 'an unknown run')}; {ELSEWHERE}.")
    mine, theirs = record["checkpoint"] or {}, earlier.get("checkpoint") or {}
    if mine.get("sha256") == theirs.get("sha256"):
        return
    for flag, key in (("--model-dir", "directory"), ("--load-epoch", "epoch")):
        if mine.get(key) != theirs.get(key):
            raise ValueError(
                f"{directory} belongs to the evaluation of another checkpoint "
                f"({flag} {theirs.get(key)} -> {mine.get(key)}); {ELSEWHERE}."
            )


def is_finished(record: dict[str, Any], earlier: dict[str, Any]) -> bool:
    """Whether `earlier` is the complete record of the run that `record` begins."""
    digests = [(one["checkpoint"] or {}).get("sha256") for one in (record, {"checkpoint": None} | earlier)]
    return bool(earlier.get("complete")) and digests[0] == digests[1]
