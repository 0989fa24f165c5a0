"""What a sweep shows: a table of at most 80 columns on a terminal, lines elsewhere, and an estimate."""

import io
import re
from dataclasses import replace

import pytest

from sweeps import view
from sweeps.board import Board
from sweeps.clock import Clock, words
from sweeps.perform import Outcome, last_lines
from sweeps.plan import Plan
from sweeps.run import Run

ONE = Run(
    "out/a",
    ("train.py",),
    "train CoOp emojinet base seed 1",
    "emojinet",
    None,
    10,
    False,
    ("train", "emojinet", "CoOp"),
)


def make_plan(methods, seeds=3):
    plan = Plan()
    for method in methods:
        places = []
        for seed in range(seeds):
            title = f"train {method} emojinet base seed {seed}"
            run = replace(ONE, directory=f"out/{method}{seed}", title=title, alike=("train", "emojinet", method))
            plan.runs[run.directory] = run
            places.append(run.directory)
        plan.rows.append((method, places))
    return plan


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def board(monkeypatch):
    """board(methods) -> a board whose table goes to `board.view.out`."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    return lambda methods: Board(make_plan(methods), view.make_view(Terminal(), "table"), Clock(1))


def frames(board):
    return board.view.out.getvalue().split("\x1b[J")


def test_the_table(board):
    it = board(["CoOp", "VPT"])
    runs = list(it.plan.runs.values())
    it.set(runs[0], "running")
    it.set(runs[0], "done", Outcome("done", 100.0))
    it.set(runs[1], "running")
    it.set(runs[3], "broken", Outcome("broken", 5.0, ("error: it broke",)))
    it.draw()
    lines = it.view.out.getvalue().splitlines()
    assert lines[0] == "train VPT emojinet base seed 0: broken: error: it broke"
    assert re.fullmatch(r"table: 1 of 6 runs, 0:00:0\d so far, about 0:06:40 left", lines[1])
    assert lines[3].split() == ["done", "running", "broken"]
    assert lines[4].split() == ["CoOp", "1/3", "1"] and lines[5].split() == ["VPT", "0/3", "1"]
    assert len(lines[4]) < 35 + len("running") and lines[-1].startswith("train CoOp emojinet base seed 1: 0:00:0")


def test_the_table_is_drawn_over_itself(board):
    it = board(["CoOp"])
    it.draw()
    height = len(frames(it)[-1].splitlines())
    it.view.drawn = 0
    it.draw()
    assert frames(it)[0].endswith(f"\x1b[{height}F")
    it.view.close()
    assert it.view.out.getvalue().endswith(f"\x1b[{height}F\x1b[J")


@pytest.mark.parametrize("columns, lines", [(80, 24), (40, 10)])
def test_it_fits(board, monkeypatch, columns, lines):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(lines))
    it = board([f"A method with quite a long name, FS_WEIGHT 0.{n}, SURGERY fs_guided, ALPHA 0.1" for n in range(40)])
    for run in list(it.plan.runs.values())[4:6]:
        it.set(run, "running")
    it.draw()
    shown = frames(it)[-1].splitlines()
    assert len(shown) < lines and max(map(len, shown)) < columns
    assert (
        any("more rows)" in line for line in shown) and sum("seed" in line or "train A" in line for line in shown) == 2
    )


def test_lines_elsewhere():
    out = io.StringIO()
    it = Board(make_plan(["CoOp"]), view.make_view(out, "table"), Clock(1))
    run = next(iter(it.plan.runs.values()))
    it.set(run, "running")
    it.draw()
    assert out.getvalue() == ""
    it.set(run, "done", Outcome("done", 61.0))
    assert re.fullmatch(
        r"\[\d\d:\d\d:\d\d\] 1/3 train CoOp emojinet base seed 0: no test in 0:01:01, about 0:02:02 left\n",
        out.getvalue(),
    )


def test_the_estimate_goes_by_the_most_alike():
    clock = Clock(jobs=2)
    assert clock.left([ONE], []) is None and clock.left([], []) == 0
    clock.took(ONE, 100)
    clock.took(replace(ONE, alike=("train", "emojinet", "VPT")), 10)
    clock.took(replace(ONE, alike=("test", "emojinet", "VPT")), 1)
    assert clock.guess(ONE) == 100
    assert clock.guess(replace(ONE, alike=("train", "emojinet", "LPT"))) == 55
    assert clock.guess(replace(ONE, alike=("train", "dtd", "CoOp"))) == 55
    assert clock.left([ONE, ONE, ONE], []) == 150
    assert clock.left([ONE], [(ONE, 30)]) == 100  # not less than one of them takes
    assert clock.left([], [(ONE, 400)]) == 0


@pytest.mark.parametrize("seconds, text", [(None, "?"), (0, "0:00:00"), (3723.4, "1:02:03"), (90_061, "1 d 1:01:01")])
def test_durations(seconds, text):
    assert words(seconds) == text


def test_the_last_lines_of_an_output(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"one\n\n" + b"two\n" * 9000 + b" 10%\r 50%\r100%\nerror: \xff\n\n")
    assert last_lines(log, 3) == ("two", "100%", "error: \ufffd")
    log.write_text("")
    assert last_lines(log) == ("(it printed nothing)",)
