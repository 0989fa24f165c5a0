"""A training step that cannot be captured as a CUDA graph: the run goes on in a fresh process, without one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import small_run

import train

REPOSITORY = Path(train.__file__).parent
PROGRAM = """
import sys

import small_run  # its data set
import torch
import trainers.trainer
import train


class Breaks:
    def warm_up(self, work, strict):
        return work()

    def record(self, work):
        raise RuntimeError("operation not permitted when stream is capturing")


torch.set_num_threads(1)
trainers.trainer.recorder_for = lambda device: Breaks()
sys.exit(train.main())
"""


def test_the_run_goes_on_without(command, whole, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    path = os.pathsep.join([str(REPOSITORY), str(Path(small_run.__file__).parent), *sys.path])
    words = [sys.executable, str(tmp_path / "program.py"), *command, "--output-dir", str(tmp_path / "out")]
    done = subprocess.run(
        words, env=os.environ | {"PYTHONPATH": path}, cwd=REPOSITORY, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("could not be captured as a CUDA graph (operation not permitted") == 1
    assert "Traceback" not in done.stdout + done.stderr
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert record["accuracy"] is not None
    assert small_run.epoch_lines(tmp_path / "out") == small_run.epoch_lines(whole)
