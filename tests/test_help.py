"""Whoever asks a command for help waits for no torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = [
    *(["train.py"], ["sweep.py"], ["parse_test_res.py"], ["-m", "report"], ["-m", "report", "tables"]),
    *(["-m", "datasets.prepare"], ["-m", "datasets.prepare", "check"]),
    *(["-m", "runs.convert"], ["-m", "runs.tracking"], ["-m", "promptclip"], ["demo/random_clip.py"]),
    *(["-m", "promptclip", name] for name in ("predict", "export", "info", "pack", "serve", "backbones")),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_imports_no_torch(command, tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *command, "--help"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "usage:" in done.stdout, done.stderr
