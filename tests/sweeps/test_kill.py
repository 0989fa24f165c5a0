"""A sweep of real, tiny runs, killed with SIGKILL twice: the same command ends where undisturbed runs end."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import small_run
import torch
from dassl.utils import load_checkpoint
from PIL import Image
from small_clip import as_openais

from sweeps.plan import make_plan
from sweeps.processes import REPOSITORY
from sweeps.spec import read_spec, rows_of

CLASSES = ("red noise", "green noise", "blue noise", "grey noise")


@pytest.fixture
def spec(tmp_path):
    """A specification on four classes of noise, with a backbone of two narrow blocks."""
    noise = np.random.RandomState(0)
    for part, count in (("train", 6), ("test", 3)):
        for number, name in enumerate(CLASSES):
            folder = tmp_path / "data" / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = noise.randint(0, 120, (40, 40, 3), dtype=np.uint8)
                pixels[..., number % 3] += 90
                Image.fromarray(pixels).save(folder / f"{index}.png")
    torch.save(as_openais(small_run.clip_state()), tmp_path / "clip.pt")
    (tmp_path / "noise.yaml").write_text("DATASET: {NAME: ImageFolder}\n")
    (tmp_path / "tiny.yaml").write_text(
        "INPUT: {SIZE: [32, 32], TRANSFORMS: [random_resized_crop, random_flip, normalize]}\n"
        "DATALOADER: {NUM_WORKERS: 0, TRAIN_X: {BATCH_SIZE: 2}, TEST: {BATCH_SIZE: 4}}\n"
        "OPTIM: {NAME: sgd, LR: 0.01, LR_SCHEDULER: cosine, MAX_EPOCH: 6, WARMUP_EPOCH: 1, WARMUP_TYPE: constant}\n"
        f"MODEL: {{BACKBONE: {{NAME: '{tmp_path / 'clip.pt'}'}}}}\n"
        "TRAINER: {RESTORE_P: {PREC: fp32, PROMPT_DEPTH_TEXT: 2, PROMPT_DEPTH_VISION: 2, GPA_MEAN: 10, GPA_STD: 4}}\n"
    )
    file = tmp_path / "tiny_sweep.yaml"
    file.write_text(
        f"{{trainer: RESTORE_p, config: {tmp_path / 'tiny.yaml'}, dataset: {tmp_path / 'noise.yaml'}, "
        "seed: 1, shots: 5}"
    )
    return file


def outcome(directory: Path):
    """What must be the same: figures and checkpoints."""
    record = json.loads((directory / "metrics.json").read_text())
    figures = {key: record[key] for key in ("complete", "mode", "seed", "accuracy", "macro_f1", "total", "correct")}
    checkpoints = {path.name: load_checkpoint(str(path)) for path in sorted(directory.glob("*/model.pth.tar-*"))}
    return figures, checkpoints


def start(spec, output):
    """sweep.py in a process of its own."""
    command = [sys.executable, "sweep.py", str(spec), "--root", str(spec.parent / "data"), "--output", str(output)]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def test_killed_twice_it_ends_as_if_nothing_had_been(spec, tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    output, whole = tmp_path / "killed", tmp_path / "whole"
    runs = make_plan(rows_of(read_spec(spec)), str(whole), str(tmp_path / "data")).runs.values()
    for run in runs:
        code, printed = small_run.run(list(run.argv[1:]), tmp_path / "printed")
        assert code == 0, printed

    first = start(spec, output)
    wait_for(lambda: any(output.rglob("model.pth.tar-1")), first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    end = time.monotonic() + 120
    while sys.platform == "linux" and any(output.rglob("seed*/.lock")):  # its run saves, and ends with it
        assert time.monotonic() < end
        time.sleep(0.1)

    second = start(spec, output)
    wait_for(lambda: any((output / "base2new/test_new").glob("*/*/*/*/seed1/config.yaml")), second)
    second.send_signal(signal.SIGKILL)
    second.communicate()
    for lock in output.rglob("seed*/.lock"):  # this time its run is killed, too, before it has saved
        with suppress(OSError, ValueError):  # or it was quicker
            os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)

    third = start(spec, output)
    printed = third.communicate(timeout=600)[0]
    assert third.returncode == 0 and "\n2 runs: 2 done.\n" in printed, printed
    for run in runs:
        directory = Path(run.directory)
        figures, checkpoints = outcome(output / directory.relative_to(whole))
        expected, all_checkpoints = outcome(directory)
        assert figures == expected
        assert list(checkpoints) == (["model.pth.tar-6"] if run.trains else [])
        for name, content in checkpoints.items():
            assert small_run.equal(content, all_checkpoints[name])
