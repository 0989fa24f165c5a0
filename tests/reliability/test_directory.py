"""The output directory fails the run: full, read-only, removed, in use. One sentence, and the last checkpoint stays."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import small_run
from dassl.engine import TRAINER_REGISTRY, SimpleTrainer
from dassl.utils import load_checkpoint

MODEL = "VLPromptLearner"


def only_sentence(printed, *parts):
    """The one line of error that a run printed."""
    (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in printed, printed
    for part in parts:
        assert part in line, line
    return line


class Limit:
    """Called in a run's process: once a checkpoint is there, no file may grow beyond `size` bytes."""

    def __init__(self, size):
        self.size = size

    def __call__(self):
        from dassl.engine import TrainerBase

        save = TrainerBase.save_model

        def limited(trainer, *args, **kwargs):
            save(trainer, *args, **kwargs)
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))

        TrainerBase.save_model = limited


def test_no_more_room_for_a_checkpoint(command, whole, tmp_path):
    directory = tmp_path / "out"
    argv = [*command, "--output-dir", str(directory)]
    code, printed = small_run.run(argv, tmp_path / "printed", Limit(20_000))
    assert code == 1
    only_sentence(printed, "model.pth.tar-2", "could not be written", "File too large", "untouched")
    assert sorted(path.name for path in (directory / MODEL).iterdir()) == ["checkpoint", "model.pth.tar-1"]
    assert load_checkpoint(str(directory / MODEL / "model.pth.tar-1"))["epoch"] == 1
    code, printed = small_run.run(argv, tmp_path / "printed")  # there is room again
    assert code == 0, printed
    assert small_run.epoch_lines(directory) == small_run.epoch_lines(whole)


class FullAtFeatures:
    """Called in a run's process: while features.npz is written, no file may grow beyond 500 bytes."""

    def __call__(self):
        import numpy

        save = numpy.savez

        def limited(*args, **arrays):
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
            try:
                save(*args, **arrays)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)

        numpy.savez = limited


def test_no_more_room_for_the_features(command, tmp_path):
    directory = tmp_path / "out"
    argv = [*command, "--output-dir", str(directory), "OPTIM.MAX_EPOCH", "1", "TEST.SAVE_FEATURES", "True"]
    code, printed = small_run.run(argv, tmp_path / "printed", FullAtFeatures())
    assert code == 1
    only_sentence(printed, f"{directory / 'features.npz'} cannot be written (File too large)")
    assert not list(directory.rglob("*.part")) and not (directory / "features.npz").exists()
    assert json.loads((directory / "metrics.json").read_text())["complete"] is False
    code, printed = small_run.run(argv, tmp_path / "printed")
    assert code == 0 and (directory / "features.npz").exists(), printed


@pytest.fixture
def small_disk(tmp_path):
    """mount(size) -> a file system of so many bytes; skipped where none may be mounted."""
    mounted = []

    def mount(size):
        folder = tmp_path / "disk"
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip("may not mount a file system here")
        mounted.append(folder)
        return folder

    if not shutil.which("mount"):
        pytest.skip("no mount here")
    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("kilobytes", [20, *(pytest.param(size, marks=pytest.mark.slow) for size in (600, 800))])
def test_a_full_disk(command, whole, tmp_path, small_disk, kilobytes):
    """Full at the start, at the first checkpoint, or later."""
    disk = small_disk(f"{kilobytes}k")
    argv = [*command, "--output-dir", str(disk / "out")]
    code, printed = small_run.run(argv, tmp_path / "printed")
    assert code in (1, 2)
    only_sentence(printed, "No space left on device")
    for pointer in (disk / "out").glob(f"{MODEL}/checkpoint"):
        assert load_checkpoint(str(pointer.parent / pointer.read_text().strip()))["epoch"] >= 1
    subprocess.run(["mount", "-o", "remount,size=10m", str(disk)], check=True)
    code, printed = small_run.run(argv, tmp_path / "printed")
    assert code == 0, printed
    mine, theirs = (load_checkpoint(str(one / MODEL / "model.pth.tar-4")) for one in (disk / "out", whole))
    assert small_run.equal(mine, theirs)


def test_a_read_only_directory(command, tmp_path, small_disk):
    disk = small_disk("10m")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    code, printed = small_run.run([*command, "--output-dir", str(disk / "out")], tmp_path / "printed")
    assert code == 2
    only_sentence(printed, f"{disk / 'out'} cannot be written", "Read-only file system", "another --output-dir")
    code, printed = small_run.run([*command, "--output-dir", str(disk)], tmp_path / "printed")
    assert code == 2
    only_sentence(printed, f"{disk} cannot be written")


def test_an_output_directory_that_is_a_file(command, tmp_path):
    (tmp_path / "out").touch()
    code, printed = small_run.run([*command, "--output-dir", str(tmp_path / "out")], tmp_path / "printed")
    assert code == 2
    only_sentence(printed, "cannot be written", "another --output-dir")


class After:
    """Called in a run's process: `action` happens in the middle of the second epoch."""

    def __init__(self, action, directory):
        self.action, self.directory = action, directory

    def __call__(self):
        import trainers  # noqa: F401  registers the methods

        trainer = TRAINER_REGISTRY.get("RESTORE_p")
        step = trainer.forward_backward

        def watched(trainer, batch):
            if (trainer.epoch, trainer.batch_idx) == (1, 1):
                self.action(self.directory)
            return step(trainer, batch)

        trainer.forward_backward = watched


class BeforeTheLog(After):
    """The same, between taking the directory and opening the log."""

    def __call__(self):
        import runs.run

        seed = runs.run.set_random_seed
        runs.run.set_random_seed = lambda number: (self.action(self.directory), seed(number))


class WhileBuilding(After):
    """The same, when the log is open and nothing trained."""

    def __call__(self):
        build = SimpleTrainer.build_data_loader
        SimpleTrainer.build_data_loader = lambda trainer: (self.action(self.directory), build(trainer))


def replace(directory):
    shutil.rmtree(directory)
    Path(directory).mkdir()


def replace_by_file(directory):
    shutil.rmtree(directory)
    Path(directory).touch()


@pytest.mark.parametrize("action", [shutil.rmtree, replace, replace_by_file])
@pytest.mark.parametrize("when", [BeforeTheLog, WhileBuilding, After])
def test_a_directory_removed_under_the_run(command, tmp_path, when, action):
    directory = tmp_path / "out"
    code, printed = small_run.run(
        [*command, "--output-dir", str(directory)], tmp_path / "printed", when(action, str(directory))
    )
    assert code == (1 if when is After else 2)
    only_sentence(printed, str(directory), "was removed or replaced")
    if directory.is_dir():
        assert not list(directory.iterdir())  # nothing is made anew
    else:
        assert directory.exists() == (action is replace_by_file)


# ---- two processes ----


class Wait:
    """Called in a run's process: it waits in the second epoch until a file is gone."""

    def __init__(self, file):
        self.file = file

    def __call__(self):
        waiting = After(lambda file: [time.sleep(0.05) for _ in range(600) if os.path.exists(file)], self.file)
        waiting()


def test_a_second_process_is_told_who_is_there(command, tmp_path):
    directory, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    argv = [*command, "--output-dir", str(directory)]
    first = small_run.start(argv, tmp_path / "first", Wait(str(gate)))
    for _ in range(1200):
        if (directory / MODEL / "checkpoint").exists():
            break
        time.sleep(0.05)
    before = sorted(path.name for path in directory.iterdir())
    code, printed = small_run.run(argv, tmp_path / "second")
    assert code == 2
    found = json.loads((directory / ".lock").read_text())
    assert (found["host"], found["pid"]) == (socket.gethostname(), first.pid)
    who = f"in use by process {first.pid} on {socket.gethostname()} since {found['since']}"
    only_sentence(printed, who, "another --output-dir")
    assert before == sorted(path.name for path in directory.iterdir())

    os.kill(first.pid, signal.SIGKILL)
    assert small_run.finish(first) == -signal.SIGKILL
    code, printed = small_run.run(argv, tmp_path / "second")
    assert code == 0, printed
    assert f"Taking over {directory} from process {first.pid} on {socket.gethostname()}" in printed
    assert not (directory / ".lock").exists()
