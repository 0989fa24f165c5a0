"""Runs forked from a server are the runs that fresh processes do: to the bit, killed, and when the server dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_run

from promptclip.checkpoint_file import load_checkpoint
from runs.command_line import RESUMABLE
from sweeps.processes import REPOSITORY, Fresh, Kept, is_there

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fork, and a signal at the parent's death")


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """train.py's command line of the small run on images of one's own, which needs nothing registered by a test."""
    folder = tmp_path_factory.mktemp("small")
    arguments = small_run.prepare(folder / "run")
    root = folder / "images"
    for file in Path(arguments[arguments.index("--root") + 1]).iterdir():
        target = root / ("test" if int(file.stem[2:]) > 5 else "train") / f"class_{file.stem[0]}" / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
    arguments[arguments.index("--root") + 1] = str(root)
    yaml = Path(arguments[-1])
    yaml.write_text(yaml.read_text().replace("NAME: NoiseSquares", "NAME: ImageFolder"))
    return ["train.py", *arguments]


@pytest.fixture
def kept():
    processes = Kept()
    yield processes
    processes.close()


def environment(**more):
    return os.environ | {"OMP_NUM_THREADS": "1"} | more


def start(processes, command, folder, *options):
    argv = [*command, "--output-dir", str(folder / "out"), *options]
    return processes.start(argv, environment(), folder / "printed.txt")


def outcome(folder):
    record = json.loads((folder / "out/metrics.json").read_text())
    kept = {path.name: load_checkpoint(str(path)) for path in (folder / "out").glob("*/model.pth.tar-*")}
    figures = {key: record[key] for key in ("complete", "accuracy", "macro_f1", "correct", "command")}
    return figures | {"losses": [epoch["losses"] for epoch in read_history(folder)]}, kept, record


def read_history(folder):
    return json.loads((folder / "out/history.json").read_text())


def wait_for(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_same_to_the_bit(kept, command, tmp_path):
    found = []
    for name, processes in (("fresh", Fresh((sys.executable,))), ("first", kept), ("second", kept)):
        folder = tmp_path / name
        folder.mkdir()
        assert start(processes, command, folder).wait() == 0, (folder / "printed.txt").read_text()
        assert "* accuracy:" in (folder / "printed.txt").read_text()
        figures, checkpoints, record = outcome(folder)
        figures["command"] = [word.replace(str(folder), "") for word in figures["command"]]
        found.append((figures, checkpoints, record["peak_memory_bytes"]))
    assert found[0][0] == found[1][0] == found[2][0]
    assert small_run.equal(found[0][1], found[1][1]) and small_run.equal(found[0][1], found[2][1])
    for _, _, peak in found[1:]:  # as if it had imported everything itself
        assert 0.8 < peak / found[0][2] < 1.2


def test_a_killed_run_harms_no_other(kept, command, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    first = start(kept, command, one, "OPTIM.MAX_EPOCH", "500")
    wait_for(lambda: any((one / "out").glob("*/model.pth.tar-1")))
    second = start(kept, command, other)
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL and second.wait() == 0
    third = start(kept, command, one, "OPTIM.MAX_EPOCH", "500")
    wait_for(lambda: "epoch [" in (one / "printed.txt").read_text())
    third.terminate()
    assert third.wait() == RESUMABLE and "Loading checkpoint" in (one / "printed.txt").read_text()


def test_what_train_py_refuses_has_its_code_and_sentence(kept, command, tmp_path):
    assert start(kept, command, tmp_path, "OPTIM.LR", "-1").wait() == 2
    assert "error: OPTIM.LR is -1" in (tmp_path / "printed.txt").read_text()
    assert kept.start(["train.py", "--sed", "1"], environment(), tmp_path / "printed.txt").wait() == 2
    assert "--sed" in (tmp_path / "printed.txt").read_text()


def test_the_server_dies_and_its_runs_save(kept, command, tmp_path):
    run = start(kept, command, tmp_path, "OPTIM.MAX_EPOCH", "500", "TRAIN.CHECKPOINT_FREQ", "1")
    wait_for(lambda: any((tmp_path / "out").glob("*/model.pth.tar-2")))
    (server, _), *_ = kept._servers.values()
    server.kill()
    assert run.wait() == RESUMABLE and not is_there(run.pid)
    assert "the same command resumes" in (tmp_path / "printed.txt").read_text()
    again = start(kept, command, tmp_path, "OPTIM.MAX_EPOCH", "500", "TRAIN.CHECKPOINT_FREQ", "1")  # by a new server
    wait_for(lambda: "epoch [" in (tmp_path / "printed.txt").read_text())
    again.terminate()
    assert again.wait() == RESUMABLE


def test_the_server_ends_with_whoever_started_it(tmp_path):
    script = (
        "import os, sys, time; from pathlib import Path; from sweeps.processes import Kept\n"
        "kept = Kept(); kept.start(['train.py', '--help'], os.environ, Path(sys.argv[1]) / 'printed.txt').wait()\n"
        "print(next(iter(kept._servers.values()))[0].pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    process.kill()
    process.communicate()
    wait_for(lambda: not is_there(pid))
    assert "--dataset-config-file" in (tmp_path / "printed.txt").read_text()


def test_the_server_has_one_thread():
    """Others would not be there in a fork."""
    script = (
        "import threading; from sweeps.fork_server import prepare; prepare()\n"
        "assert threading.active_count() == 1, threading.enumerate()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
