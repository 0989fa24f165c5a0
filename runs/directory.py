"""A run's output directory: claimed for one configuration, recognised when it is finished, never mixed."""

from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from runs.environment import git_commit, versions
from runs.lock import Lock, unwritable
from runs.record import begin_record, differences, read_config, read_record, write_config, write_record

ELSEWHERE = "choose another --output-dir, or move that directory away"


class Claim:
    """cfg.OUTPUT_DIR, taken for one run.

    Attributes: `directory`, `record` (complete if `finished`, otherwise just begun), `finished` whether the run's
    result is there already. A directory that a run of the same configuration left unfinished is taken over: training
    resumes in it. Raises ValueError if the directory belongs to another run or is in use by another process, OSError
    if it cannot be written.
    """

    def __init__(self, cfg: CfgNode, mode: str, checkpoint: dict[str, Any] | None, command: list[str] | None = None):
        self.directory = Path(cfg.OUTPUT_DIR)
        self.record = begin_record(cfg, mode, checkpoint, command)
        self.lock = Lock(self.directory)
        self.examine(cfg)
        if self.finished:
            return
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(unwritable(self.directory, error)) from error
        self.lock.take()
        try:
            self.examine(cfg)  # again: another process may have been at work until just now
            if self.finished:
                self.lock.release()
                return
            if self.fresh:
                write_config(cfg, self.directory)
            self.record |= {"versions": versions(), "git_commit": git_commit()}
            write_record(self.record, self.directory)
        except BaseException:
            self.lock.release()
            raise

    def examine(self, cfg: CfgNode) -> None:
        """See whose the directory is: sets `fresh` and `finished`. Raises ValueError if another run's."""
        stored, earlier = read_config(self.directory), read_record(self.directory)
        self.fresh, self.finished = stored is None, False
        if stored is None:
            refuse_foreign(self.directory)
        else:
            refuse_other(cfg, stored, self.directory)
        if earlier is not None:
            refuse_other_kind(self.record, earlier, self.directory)
            # features that were not asked for before are made by evaluating again
            wanted = cfg.TEST.SAVE_FEATURES and not (self.directory / "features.npz").is_file()
            if is_finished(self.record, earlier) and not wanted:
                self.record, self.finished = earlier, True

    def check(self) -> None:
        """Raise FileNotFoundError if the directory was removed, or replaced, under the run."""
        self.lock.check()

    def complete(self, results: dict[str, Any]) -> None:
        """Write the record of the finished run."""
        self.check()
        write_record(self.record | results | {"complete": True}, self.directory)

    def withdraw(self) -> None:
        """Give the directory free again after a setup error, so that a corrected command may use it."""
        if self.fresh:
            for name in ("config.yaml", "metrics.json"):
                (self.directory / name).unlink(missing_ok=True)

    def release(self) -> None:
        """Let other processes at the directory."""
        self.lock.release()


def refuse_foreign(directory: Path) -> None:
    """Refuse a directory with checkpoints of unknown configuration: training would resume from them."""
    checkpoints = sorted(directory.glob("*/model*.pth.tar*"))
    if checkpoints:
        raise ValueError(
            f"{directory} holds checkpoints ({checkpoints[0].relative_to(directory)}) but no config.yaml that says "
            f"which run they belong to; {ELSEWHERE}."
        )


def refuse_other(cfg: CfgNode, stored: dict[str, Any], directory: Path) -> None:
    """Refuse a directory whose config.yaml disagrees in anything that can change the result."""
    different = differences(cfg, stored)
    if different:
        raise ValueError(
            f"{directory} belongs to a run of another configuration ({'; '.join(different)}); {ELSEWHERE}."
        )


def refuse_other_kind(record: dict[str, Any], earlier: dict[str, Any], directory: Path) -> None:
    """Refuse to evaluate where training went, or one checkpoint where another was evaluated.

    Content decides (a moved directory is still the same); a checkpoint of the same name with new content, from
    repeated training, is evaluated anew.
    """
    if earlier.get("mode") == "eval" and not earlier.get("complete"):
        return  # broken off: no result to protect
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
