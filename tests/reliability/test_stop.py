"""SIGTERM and SIGINT: the step is finished, everything saved, the exit code 75, and the same command resumes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_run
import torch
from dassl.engine import TRAINER_REGISTRY, SimpleTrainer
from dassl.utils import load_checkpoint

import train

REPOSITORY = Path(train.__file__).parent
MODEL = "VLPromptLearner"


class SlowSteps:
    """Called in a run's process: training steps take so long that a signal falls between two of a known epoch."""

    def __call__(self):
        import trainers  # noqa: F401  registers the methods

        trainer = TRAINER_REGISTRY.get("RESTORE_p")
        step = trainer.forward_backward

        def slow(self, batch):
            time.sleep(0.2)
            return step(self, batch)

        trainer.forward_backward = slow


def wait_for_line(output, text):
    for _ in range(1200):
        if output.exists() and text in output.read_text(errors="replace"):
            return
        time.sleep(0.05)
    raise TimeoutError(output.read_text(errors="replace"))


@pytest.mark.parametrize(
    ("number", "workers", "group"),
    [("SIGTERM", 0, False), pytest.param("SIGINT", 2, True, marks=pytest.mark.slow)],
)
def test_a_stopped_run_goes_on_inside_its_epoch(command, whole, tmp_path, number, workers, group):
    """With workers the signal goes to the whole process group, as Slurm and a terminal send it."""
    directory, output = tmp_path / "out", tmp_path / "printed"
    argv = [*command, "--output-dir", str(directory), "DATALOADER.NUM_WORKERS", str(workers)]
    process = small_run.start(argv, output, SlowSteps())
    wait_for_line(output, "epoch [2/4] batch [1/3]")
    (os.killpg if group else os.kill)(process.pid, getattr(signal, number))
    assert small_run.finish(process) == 75
    printed = output.read_text()
    assert f"{number}: saving after this step" in printed and "Traceback" not in printed
    (saved,) = directory.glob(f"{MODEL}/model.pth.tar-1-batch-*")
    assert f"stopped: the same command resumes {directory} from {saved}." in printed
    assert json.loads((directory / "metrics.json").read_text())["complete"] is False

    code, printed = small_run.run(argv, output)
    assert code == 0 and "Resuming after batch" in printed, printed
    assert not list(directory.glob(f"{MODEL}/*batch*"))
    if workers:  # their random numbers are others than those of no workers
        code, printed = small_run.run([*argv, "OUTPUT_DIR", str(tmp_path / "undisturbed")], output)
        assert code == 0, printed
        whole = tmp_path / "undisturbed"
    mine, theirs = (load_checkpoint(str(one / MODEL / "model.pth.tar-4")) for one in (directory, whole))
    assert small_run.equal(mine, theirs)
    assert small_run.epoch_lines(directory) == small_run.epoch_lines(whole)
    mine, theirs = (json.loads((one / "history.json").read_text()) for one in (directory, whole))
    for entry in (*mine, *theirs):  # the sums of the epoch that was stopped were in its checkpoint
        assert entry.pop("seconds") > 0 and entry.pop("images_per_second") > 0
    assert mine == theirs and [entry["epoch"] for entry in mine] == [1, 2, 3, 4]


def test_a_signal_before_the_training_loses_nothing(command, tmp_path):
    process = small_run.start([*command, "--output-dir", str(tmp_path / "out")], tmp_path / "printed", SlowLoad())
    wait_for_line(tmp_path / "printed", "Loading CLIP")
    os.kill(process.pid, signal.SIGTERM)
    assert small_run.finish(process) == 75
    assert "from its beginning" in (tmp_path / "printed").read_text()


class SlowLoad:
    """Called in a run's process: the data take a second to load, after the backbone."""

    def __call__(self):
        load = SimpleTrainer.build_data_loader
        SimpleTrainer.build_data_loader = lambda trainer: (time.sleep(1), load(trainer))


def test_a_script_hands_the_signal_on(tmp_path):
    """scripts/common.sh around a stand-in for the interpreter that takes a moment to save."""
    interpreter = tmp_path / "python"
    interpreter.write_text(
        f'#!/usr/bin/env bash\n[[ $1 == train.py ]] || exec {sys.executable} "$@"\n'
        f"trap 'sleep 0.3; touch {tmp_path}/saved; exit 75' TERM\n"
        f"touch {tmp_path}/started\nwhile :; do sleep 0.05; done\n"
    )
    interpreter.chmod(0o755)
    script = subprocess.Popen(
        ["bash", str(REPOSITORY / "scripts/restore/base2new_train.sh"), "emojinet", "1"],
        env=os.environ | {"PYTHON": str(interpreter), "OUTPUT": str(tmp_path / "out")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    while not (tmp_path / "started").exists():
        assert script.poll() is None
        time.sleep(0.02)
    script.send_signal(signal.SIGTERM)
    assert script.wait(30) == 75 and (tmp_path / "saved").exists()


def test_two_runs_with_one_seed_are_identical_and_say_so(command, whole, tmp_path):
    code, printed = small_run.run([*command, "--output-dir", str(tmp_path / "out")], tmp_path / "printed")
    assert code == 0, printed
    mine, theirs = (load_checkpoint(str(one / MODEL / "model.pth.tar-4")) for one in (tmp_path / "out", whole))
    assert small_run.equal(mine, theirs)
    found = json.loads((whole / "metrics.json").read_text())
    assert (found["deterministic"], found["device"], found["threads"]) == (True, "cpu", 1)


def test_a_run_that_cannot_be_repeated_says_why(command, tmp_path):
    argv = [*command, "--output-dir", str(tmp_path / "out"), "SEED", "-1", "OPTIM.MAX_EPOCH", "1"]
    code, printed = small_run.run(argv, tmp_path / "printed", WarnsOfScatter())
    assert code == 0, printed
    found = json.loads((tmp_path / "out/metrics.json").read_text())
    assert found["deterministic"] is False
    assert found["not_deterministic_because"] == ["no seed was set (SEED -1)"]
    argv = [*command, "--output-dir", str(tmp_path / "two"), "OPTIM.MAX_EPOCH", "1"]
    code, printed = small_run.run(argv, tmp_path / "printed", WarnsOfScatter())
    found = json.loads((tmp_path / "two/metrics.json").read_text())
    assert found["deterministic"] is False
    assert found["not_deterministic_because"] == ["torch has no deterministic scatter_cuda on this device"]


class WarnsOfScatter:
    """Called in a run's process: a step warns as torch does of an operation without a deterministic implementation."""

    def __call__(self):
        import warnings

        import trainers  # noqa: F401  registers the methods

        trainer = TRAINER_REGISTRY.get("RESTORE_p")
        step = trainer.forward_backward

        def warns(self, batch):
            if torch.are_deterministic_algorithms_enabled():
                warnings.warn("scatter_cuda does not have a deterministic implementation, but you set …", stacklevel=1)
            return step(self, batch)

        trainer.forward_backward = warns
