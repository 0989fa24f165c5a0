"""SIGKILL at any moment, also inside the writing of files: the same command ends where an undisturbed run ends."""

import json
import os
import random
import shutil
import signal
import time

import pytest
import small_run
from dassl.utils import load_checkpoint

KILLS = small_run.count(6, 27)
"""In every round; four rounds with RELIABILITY=full, so that each is done in minutes."""
MODEL = "VLPromptLearner"
# What another place, or another speed, changes in a record
DIFFERENT = {"command", "config", "wall_seconds", "train_seconds", "peak_memory_bytes", "seconds", "images_per_second"}
DIFFERENT |= {"train_images_per_second", "test_images_per_second", "git_commit"}


def outcome(directory):
    """What must be the same: checkpoint with generators and averages, metrics, history, predictions, epoch lines."""
    checkpoint = load_checkpoint(str(directory / MODEL / "model.pth.tar-4"))
    records = [json.loads((directory / "metrics.json").read_text())]
    records += json.loads((directory / "history.json").read_text())
    same = [{key: value for key, value in record.items() if key not in DIFFERENT} for record in records]
    return checkpoint, same, (directory / "predictions.csv").read_text(), small_run.epoch_lines(directory)


def check_same(directory, whole):
    for mine, theirs in zip(outcome(directory), outcome(whole), strict=True):
        assert small_run.equal(mine, theirs)


def test_what_is_compared(whole):
    checkpoint, (metrics, *history), predictions, lines = outcome(whole)
    assert len(lines) == 12 and len(set(lines.values())) == 12
    assert {"image_alpha.value", "text_alpha.value", "average.ctx", "ctx"} <= checkpoint["state_dict"].keys()
    assert metrics["complete"] and metrics["deterministic"] and metrics["accuracy"] is not None
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4] and predictions.count("\n") == 7
    assert len({str(entry["losses"]) for entry in history}) == len({str(one["feature_shift"]) for one in history}) == 4
    assert not list(whole.rglob(".*"))  # no lock, no half-written file


@pytest.mark.parametrize("round", range(small_run.count(1, 4)))
def test_killed_at_random_moments(command, whole, tmp_path, capsys, round):
    """Runs killed again and again until `KILLS` are reached; now and then one is asked to stop instead."""
    chance = random.Random(20240229 + round)
    took = 4.0  # seconds of a whole run, adapted below
    kinds = {"time": 0, "half": 0, "fsync": 0, "replace": 0, "moved": 0, "SIGTERM": 0}
    kills = runs = 0
    while kills < KILLS:
        runs += 1
        directory = tmp_path / f"run{runs}"
        argv = [*command, "--output-dir", str(directory), "TRAIN.CHECKPOINT_FREQ", str(chance.choice([0, 1, 1, 2]))]
        for _ in range(chance.randint(1, 4)):
            kind = chance.choice(["time", "time", "time", "half", "fsync", "replace", "moved", "SIGTERM"])
            at_call = None if kind in ("time", "SIGTERM") else small_run.KillAt(kind, chance.randint(1, 8))
            began = time.monotonic()
            process = small_run.start(argv, tmp_path / "printed", at_call)
            if at_call is None:
                time.sleep(chance.uniform(0, took))
                if process.exitcode is None:
                    os.kill(process.pid, signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL)
            code = small_run.finish(process)
            assert code in (0, 75, -signal.SIGKILL, -signal.SIGTERM), (tmp_path / "printed").read_text()
            kinds[kind] += code != 0
            kills += code == -signal.SIGKILL
            if code == 0:
                took = time.monotonic() - began
                break
        code, printed = small_run.run(argv, tmp_path / "printed")
        assert code == 0, printed
        check_same(directory, whole)
        shutil.rmtree(directory)
    with capsys.disabled():
        if small_run.FULL:
            print(f"\n{kills} kills in {runs} runs: {kinds}")
    assert sum(kinds[kind] for kind in ("half", "fsync", "replace", "moved")) > 0
