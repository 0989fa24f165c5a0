"""A lock says who holds it, falls with its process, and notices when its file is taken away."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from promptclip.common import files
from promptclip.common.files import InUse, Lock, holder

# Takes the lock, forks a worker that lives on, and waits.
HOLDER = """
import os, pathlib, sys, time
from promptclip.common.files import Lock
lock = Lock(pathlib.Path(sys.argv[1]))
lock.take()
if os.fork():
    print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds the lock at tmp_path/lock, and has a forked child."""
    root = Path(files.__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    os.killpg(process.pid, 9)
    process.wait()


def test_who_holds_it(tmp_path, other):
    path = tmp_path / "lock"
    found = json.loads(path.read_text())
    words = f"process {other.pid} on {socket.gethostname()} since {found['since']}"
    assert holder(path) == words
    with pytest.raises(InUse) as refused:
        Lock(path).take()
    assert refused.value.holder == words
    assert holder(path) == words  # asking took nothing away


def test_it_falls_with_its_process_though_a_worker_lives_on(tmp_path, other):
    other.kill()
    other.wait()
    os.killpg(other.pid, 0)  # the worker is there
    began = time.monotonic()
    lock = Lock(tmp_path / "lock")
    assert lock.take().startswith(f"process {other.pid} on ") and time.monotonic() - began < 1
    lock.release()
    assert not (tmp_path / "lock").exists() and holder(tmp_path / "lock") is None


def test_one_process_does_not_lock_twice(tmp_path):
    path = tmp_path / "lock"
    with Lock(path):
        with pytest.raises(InUse, match=f"process {os.getpid()} on"):
            Lock(path).take()
        assert f"process {os.getpid()} on" in holder(path)
        # the lock is still there for others: asking must not have opened and closed the file
        code = (
            "import sys, pathlib; from promptclip.common.files import holder; print(holder(pathlib.Path(sys.argv[1])))"
        )
        asked = subprocess.run(
            [sys.executable, "-c", code, str(path)], cwd=Path(files.__file__).parents[2], capture_output=True, text=True
        )
        assert f"process {os.getpid()} on" in asked.stdout
    with Lock(path):
        pass


@pytest.mark.parametrize("action", [os.remove, lambda path: shutil.rmtree(path.parent)])
def test_a_file_that_is_taken_away(tmp_path, action):
    path = tmp_path / "folder/lock"
    path.parent.mkdir()
    lock = Lock(path)
    lock.take()
    assert lock.is_intact()
    action(path)
    assert not lock.is_intact()
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert not lock.is_intact()
    lock.release()
    assert path.exists()  # it is somebody else's now


def test_a_link_overwrites_nothing(tmp_path):
    (tmp_path / "precious").write_text("content")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic link"):
        Lock(tmp_path / "lock").take()
    assert (tmp_path / "precious").read_text() == "content"


def test_nonsense_in_the_file_is_taken_over(tmp_path):
    for text in (b"", b"\xff\x00", b"[1]", b'{"host": []}', b"null", b"[" * 900):
        (tmp_path / "lock").write_bytes(text)
        lock = Lock(tmp_path / "lock")
        assert lock.take() is None
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
        lock.release()
        assert not (tmp_path / "lock").exists()


def test_a_system_without_locks_says_so(tmp_path, monkeypatch, capsys):
    def none(*args):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.lockf", none)
    lock = Lock(tmp_path / "lock")
    lock.take()
    assert "Note: this file system has no locks (No locks available)" in capsys.readouterr().out
    lock.release()
