"""The real thing, small: RESTORE_m on the embedded EmojiNet through the scripts, killed, resumed, evaluated, tabled."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from report.__main__ import main as report

REPOSITORY = Path(__file__).parents[1]
RUN = "base2new/{}/emojinet/shots_1/RESTORE_m/emojiclip-ep4/seed0"


@pytest.fixture(scope="module")
def start():
    """start("base2new_train.sh", output) -> the process of that script: one shot, four epochs, seed 0."""
    settings = {"PYTHON": sys.executable, "SHOTS": "1", "EPOCHS": "4", "OMP_NUM_THREADS": "1"}
    started = []

    def begin(script, output):
        command = ["bash", str(REPOSITORY / "scripts/restore" / script), "emojinet", "0"]
        process = subprocess.Popen(
            command,
            env=os.environ | settings | {"OUTPUT": str(output)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # its own process group, to be killed as a whole
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def finish(process):
    """The output of a process that must succeed."""
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return out


def wait_for(path, process):
    """Until `path` exists; fails if the process ends before."""
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    """Output root of a training that nothing disturbed."""
    output = tmp_path_factory.mktemp("whole")
    finish(start("base2new_train.sh", output))
    return output


def weights(output):
    """What the finished training learned."""
    (checkpoint,) = (output / RUN.format("train_base")).glob("*/model.pth.tar-*")
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def test_a_killed_training_resumes_to_the_same_model(start, whole, tmp_path):
    directory = tmp_path / RUN.format("train_base")
    process = start("base2new_train.sh", tmp_path)
    wait_for(directory / "MultiModalPromptLearner/model.pth.tar-2", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert json.loads((directory / "metrics.json").read_text())["complete"] is False

    out = finish(start("base2new_train.sh", tmp_path))
    assert "epoch [1/4]" not in out and "epoch [4/4]" in out
    undisturbed, resumed = weights(whole), weights(tmp_path)
    assert undisturbed.keys() == resumed.keys()
    assert all(torch.equal(undisturbed[key], resumed[key]) for key in undisturbed)


def test_a_finished_training_is_recognised(start, whole):
    assert finish(start("base2new_train.sh", whole)).startswith("Finished before, not repeated: accuracy ")


def test_the_new_classes_are_evaluated_and_tabled(start, whole, capsys):
    finish(start("base2new_test.sh", whole))
    base, new = (
        json.loads((whole / RUN.format(part) / "metrics.json").read_text()) for part in ("train_base", "test_new")
    )
    assert base["experiment"] == new["experiment"] and base["epoch"] == new["epoch"] == 4
    assert (base["subsample_classes"], new["subsample_classes"]) == ("base", "new")
    chance = 5.0  # percent; some twenty classes a half
    assert base["accuracy"] > 2 * chance and new["accuracy"] > 2 * chance
    assert report(["tables", str(whole)]) == 0
    out = capsys.readouterr().out
    assert f"{base['accuracy']:.1f}" in out and f"{new['accuracy']:.1f}" in out
