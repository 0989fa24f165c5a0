"""The embedded benchmark on a backbone of open_clip's with GELU, from the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("open_clip")
ROOT = Path(__file__).parents[2]


def perform(*command):
    done = subprocess.run([sys.executable, "-W", "ignore", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_embedded_benchmark_runs_on_it(tmp_path):
    printed = perform("-m", "demo.random_clip", str(tmp_path / "clip"))
    assert f"open_clip:{tmp_path / 'clip'}" in printed
    files = ["--dataset-config-file", "configs/datasets/emojinet.yaml"]
    files += ["--config-file", "configs/trainers/RESTORE_m/emojiclip.yaml", "--output-dir", str(tmp_path / "run")]
    few = ["DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "1", "DATASET.SUBSAMPLE_CLASSES", "base"]
    backbone = f"open_clip:{tmp_path / 'clip'}"
    printed = perform("train.py", "--seed", "1", "--trainer", "RESTORE_m", "--backbone", backbone, *files, *few)
    assert "gelu, vision 6 blocks of 96, text 6 blocks of 64" in printed
    record = json.loads((tmp_path / "run/metrics.json").read_text())
    assert record["complete"] and record["backbone"] == backbone and record["total"] == 582
