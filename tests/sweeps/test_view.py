"""What a sweep shows: a live table on a terminal, lines elsewhere, and an estimate."""

import io
import re
from dataclasses import replace

import pytest

from sweeps.perform import Outcome, PlannedRun, last_lines
from sweeps.plan import Plan
from sweeps.progress import Estimate, Progress
from sweeps.view import duration, make_view

ONE = PlannedRun(
    directory="out/a",
    argv=("train.py",),
    title="train CoOp emojinet base seed 1",
    dataset="emojinet",
    needs=None,
    epochs=10,
    keeps_all=False,
    kind=("train", "emojinet", "CoOp"),
)


def make_plan(methods, seeds=3):
    plan = Plan()
    for method in methods:
        places = []
        for seed in range(seeds):
            title = f"train {method} emojinet base seed {seed}"
            run = replace(ONE, directory=f"out/{method}{seed}", title=title, kind=("train", "emojinet", method))
            plan.runs[run.directory] = run
            places.append(run.directory)
        plan.rows.append((method, places))
    return plan


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    """screen(methods, columns, lines) -> (progress, view, shown), where shown() draws and returns lines and codes."""

    def make(methods, columns=80, lines=24):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(lines))
        monkeypatch.setenv("TERM", "xterm")
        progress, out = Progress(make_plan(methods), 1), Terminal()
        view = make_view(progress, out, "table")

        def shown():
            before = len(out.getvalue())
            view.refresh()
            return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", out.getvalue()[before:]).splitlines()

        return progress, view, shown

    return make


def test_the_table(screen):
    progress, view, shown = screen(["CoOp", "VPT"])
    runs = list(progress.plan.runs.values())
    progress.set(runs[0], "running")
    progress.set(runs[0], "done", Outcome("done", 100.0))
    progress.set(runs[1], "running")
    lines = [line.rstrip() for line in shown()]
    assert re.fullmatch(r"table: 1 of 6 runs, 0:00:0\d so far, about 0:08:20 left", lines[0])
    assert lines[2].split() == ["done", "running", "broken"]
    assert lines[3].split() == ["CoOp", "1/3", "1"] and lines[4].split() == ["VPT", "0/3"]
    assert lines[3].index("1/3") + 3 == lines[2].index("done") + 4  # right below its heading
    assert lines[-1].startswith("train CoOp emojinet base seed 1: 0:00:0")


def test_what_breaks_stays_above_the_table(screen):
    progress, view, shown = screen(["CoOp", "VPT"])
    shown()
    progress.set(list(progress.plan.runs.values())[3], "broken", Outcome("broken", 5.0, ("error: it broke",)))
    assert "train VPT emojinet base seed 0: broken: error: it broke" in view.console.file.getvalue()
    assert [line.split() for line in shown() if line.startswith("VPT")] == [["VPT", "0/3", "1"]]


def test_the_table_is_gone_at_the_end(screen):
    progress, view, shown = screen(["CoOp"])
    height = len(shown())
    view.close()
    up_and_erase = "\x1b[1A\x1b[2K"
    assert view.console.file.getvalue().rstrip("\x1b[?25h").count(up_and_erase) >= height - 1


@pytest.mark.parametrize("columns, lines", [(80, 24), (40, 10)])
def test_it_fits(screen, columns, lines):
    many = [f"A method with quite a long name, FS_WEIGHT 0.{n}, SURGERY fs_guided, ALPHA 0.1" for n in range(40)]
    progress, view, shown = screen(many, columns, lines)
    for run in list(progress.plan.runs.values())[4:6]:
        progress.set(run, "running")
    rows = shown()
    assert len(rows) < lines and max(map(len, rows)) <= columns
    assert any("more rows)" in row for row in rows) and sum(row.startswith("train A") for row in rows) == 2
    assert rows[2].split() == ["done", "running", "broken"]


def test_lines_elsewhere():
    out = io.StringIO()
    progress = Progress(make_plan(["CoOp"]), 1)
    view = make_view(progress, out, "table")
    run = next(iter(progress.plan.runs.values()))
    progress.set(run, "running")
    view.refresh()
    assert out.getvalue() == ""
    progress.set(run, "done", Outcome("done", 61.0))
    assert re.fullmatch(
        r"\[\d\d:\d\d:\d\d\] 1/3 train CoOp emojinet base seed 0: no test in 0:01:01, about 0:02:02 left\n",
        out.getvalue(),
    )


def test_the_estimate_goes_by_the_most_alike():
    estimate = Estimate(jobs=2)
    assert estimate.left([ONE], []) is None and estimate.left([], []) == 0
    estimate.took(ONE, 100)
    estimate.took(replace(ONE, kind=("train", "emojinet", "VPT")), 10)
    estimate.took(replace(ONE, kind=("test", "emojinet", "VPT")), 1)
    assert estimate.of(ONE) == 100
    assert estimate.of(replace(ONE, kind=("train", "emojinet", "LPT"))) == 55
    assert estimate.of(replace(ONE, kind=("train", "dtd", "CoOp"))) == 55
    assert estimate.left([ONE, ONE, ONE], []) == 150
    assert estimate.left([ONE], [(ONE, 30)]) == 100  # not less than one of them takes
    assert estimate.left([], [(ONE, 400)]) == 0


@pytest.mark.parametrize(
    "seconds, text", [(None, "?"), (0, "0:00:00"), (3723.4, "1:02:03"), (90_061, "1 day, 1:01:01")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_the_last_lines_of_an_output(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"one\n\n" + b"two\n" * 9000 + b" 10%\r 50%\r100%\nerror: \xff\n\n")
    assert last_lines(log, 3) == ("two", "100%", "error: \ufffd")
    log.write_text("")
    assert last_lines(log) == ("(it printed nothing)",)
