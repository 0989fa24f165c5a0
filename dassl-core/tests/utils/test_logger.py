"""What is printed reaches log.txt, whatever happens to the process."""

import contextlib
import io
import os
import re
import subprocess
import sys

import pytest
from dassl.utils import Logger, setup_logger
from tqdm import tqdm


def test_prints_reach_console_and_file_at_once(tmp_path, capsys):
    setup_logger(str(tmp_path / "run"))
    print("epoch [1/1]")
    print("no line end", end="")
    assert (tmp_path / "run" / "log.txt").read_text() == "epoch [1/1]\nno line end"
    assert capsys.readouterr().out == "epoch [1/1]\nno line end"


def test_an_existing_log_is_kept(tmp_path):
    (tmp_path / "log.txt").write_text("first run\n")
    for text in ("second run", "third run"):
        setup_logger(str(tmp_path))
        print(text)
    assert (tmp_path / "log.txt").read_text() == "first run\n"
    others = sorted(p for p in tmp_path.iterdir() if p.name != "log.txt")
    assert sorted(p.read_text() for p in others) == ["second run\n", "third run\n"]
    assert all(re.fullmatch(r"log\.txt-\d{4}(-\d\d){5}(-\d+)?", p.name) for p in others)


def test_a_file_name_is_taken_as_such_and_none_is_no_log(tmp_path):
    before = sys.stdout
    setup_logger(None)
    assert sys.stdout is before
    setup_logger(str(tmp_path / "mine.log"))
    print("x")
    assert (tmp_path / "mine.log").read_text() == "x\n"


def test_the_next_run_s_lines_stay_out_of_this_run_s_log(tmp_path, capsys):
    setup_logger(str(tmp_path / "a"))
    print("one")
    setup_logger(str(tmp_path / "b"))
    print("two")
    assert (tmp_path / "a" / "log.txt").read_text() == "one\n"
    assert (tmp_path / "b" / "log.txt").read_text() == "two\n"
    assert capsys.readouterr().out == "one\ntwo\n"


def test_progress_bars_stay_out(tmp_path, capsys):
    setup_logger(str(tmp_path))
    for _ in tqdm(range(3)):
        pass
    print("done")
    assert (tmp_path / "log.txt").read_text() == "done\n"


def test_a_closed_terminal_costs_the_log_nothing(tmp_path, monkeypatch):
    class Closed:
        def write(self, msg):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    setup_logger(str(tmp_path))
    with pytest.raises(BrokenPipeError):
        sys.stdout.write("epoch [1/1]\n")
    assert (tmp_path / "log.txt").read_text() == "epoch [1/1]\n"


def test_what_a_console_cannot_show_is_escaped(tmp_path, monkeypatch):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii", write_through=True))
    setup_logger(str(tmp_path))
    print("caf\u00e9/" + os.fsdecode(b"\xff.png"))
    assert shown.getvalue() == b"caf\\xe9/\\udcff.png\n"
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "caf\u00e9/\\udcff.png\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")
def test_a_full_disk_is_named(tmp_path):
    logger = Logger(str(tmp_path / "log.txt"))
    logger.file.close()
    logger.file = open("/dev/full", "w", buffering=1)  # noqa: SIM115
    with pytest.raises(OSError, match='The log "/dev/full" cannot be written'):
        logger.write("x\n")
    with contextlib.suppress(OSError):
        logger.close()


def test_nothing_is_lost_when_the_process_is_killed(tmp_path):
    program = (
        "import os, signal, sys; from dassl.utils import setup_logger\n"
        "setup_logger(sys.argv[1]); print('epoch [1/2]'); print('half a line', end='')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, timeout=60)
    assert done.returncode == -9
    assert (tmp_path / "log.txt").read_text() == "epoch [1/2]\nhalf a line"
