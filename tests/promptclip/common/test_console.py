"""Streams that fail: what is written goes nowhere, and nobody hears of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from promptclip.common import console

ROOT = Path(console.__file__).parents[2]
WRITER = """
import sys
from promptclip.common.console import steady_streams
with steady_streams():
    for number in range(20_000):
        print("line", number, "\\xfc\\udcff")
    print("done", file=sys.stderr)
open(sys.argv[1], "w").write("done")
"""


@pytest.mark.parametrize("redirection", ["| head -1", "| true", ">&-", ">&- 2>&-", ">/dev/full", "<&- >&-"])
def test_the_work_continues(tmp_path, redirection):
    command = f'set -o pipefail; "{sys.executable}" -c "$WRITER" "{tmp_path}/file" {redirection}'
    environment = os.environ | {"WRITER": WRITER, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr in ("done\n", "")
    assert (tmp_path / "file").read_text() == "done"
    if redirection == "| head -1":
        assert done.stdout == "line 0 \\xfc\\udcff\n"
