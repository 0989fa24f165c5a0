"""What a sweep looks like: a table that rewrites itself on a terminal, plain lines elsewhere."""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import TextIO

from sweeps.board import Board
from sweeps.clock import words
from sweeps.run import Run

EVERY = 0.5  # seconds between two drawings
HEADER = ("done", "running", "broken")


class Lines:
    """One line for each run that ends, for files and pipes."""

    def __init__(self, out: TextIO):
        self.out = out

    def tell(self, board: Board, run: Run, before: str) -> None:
        """A line for an end, and for a directory that is in use."""
        line = describe(board, run, before)
        if line:
            done, total = len(board.of("done")), len(board.plan.runs)
            print(f"[{time.strftime('%H:%M:%S')}] {done}/{total} {line}", file=self.out, flush=True)

    def draw(self, board: Board) -> None:
        """Nothing: lines stay."""

    def close(self) -> None:
        """Nothing is open."""


class Table:
    """A table of the rows, and what is running, drawn over itself; ends of runs scroll away above it."""

    def __init__(self, out: TextIO, title: str):
        self.out, self.title = out, title
        self.height, self.drawn = 0, 0.0

    def tell(self, board: Board, run: Run, before: str) -> None:
        """A line above the table for what should not be missed."""
        if board.state(run.directory) in ("broken", "not run"):
            self.clear()
            print(f"{describe(board, run, before)}", file=self.out)
        self.drawn = 0.0

    def draw(self, board: Board) -> None:
        """Draw the table again, if it is time to."""
        if time.monotonic() - self.drawn < EVERY:
            return
        size = shutil.get_terminal_size()
        lines = table(board, self.title, size.columns - 1, size.lines - 1)
        self.clear()
        self.out.write("\n".join(lines) + "\n")
        self.out.flush()
        self.height, self.drawn = len(lines), time.monotonic()

    def clear(self) -> None:
        """Take the table away."""
        if self.height:
            self.out.write(f"\x1b[{self.height}F\x1b[J")
            self.height = 0

    def close(self) -> None:
        """Take the table away for good: a summary follows."""
        self.clear()
        self.out.flush()


def make_view(out: TextIO, title: str) -> Lines | Table:
    """The view for `out`."""
    return Table(out, title) if out.isatty() else Lines(out)


def table(board: Board, title: str, width: int, height: int) -> list[str]:
    """At most `height` lines of at most `width` characters."""
    done, total = len(board.of("done")), len(board.plan.runs)
    spent = words(time.monotonic() - board.began)
    head = [
        fit(f"{title}: {done} of {total} runs, {spent} so far, about {words(board.seconds_left())} left", width),
        "",
    ]
    column = min(max(len(label) for label, _ in board.plan.rows) + 2, width - 34)
    head.append(" " * column + "".join(f"{name:>11}" for name in HEADER))
    rows = []
    for label, directories in board.plan.rows:
        states = [board.state(directory) for directory in directories]
        counts = [
            f"{states.count('done')}/{len(states)}",
            states.count("running") + states.count("elsewhere") or "",
            states.count("broken") + states.count("not run") or "",
        ]
        rows.append((states, f"{fit(label, column - 1):<{column}}" + "".join(f"{count:>11}" for count in counts)))
    now = ["", *(fit(activity(board, run), width) for run in board.of("running", "elsewhere"))]
    room = max(1, height - len(head) - len(now))
    if len(rows) > room:  # those that are done, or have not begun, can be left out
        rows = [row for row in rows if set(row[0]) not in ({"done"}, {"waiting"})][: room - 1]
        rows.append((None, f"(and {len(board.plan.rows) - len(rows)} more rows)"))
    return [*head, *(line for _, line in rows), *now][:height]


def activity(board: Board, run: Run) -> str:
    """One line on a run that is going on."""
    if board.state(run.directory) == "elsewhere":
        return f"{run.title}: waiting for {board.outcomes[run.directory].lines[-1]}"
    return f"{run.title}: {epochs(run)}{words(board.elapsed(run))}"


def epochs(run: Run) -> str:
    """`epoch 3/10, ` of a training whose history says so."""
    try:
        count = len(json.loads((Path(run.directory) / "history.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return ""
    return f"epoch {min(count + 1, run.epochs)}/{run.epochs}, " if run.trains else ""


def describe(board: Board, run: Run, before: str) -> str | None:
    """A sentence on a run's new state; None for a beginning."""
    state, outcome = board.state(run.directory), board.outcomes.get(run.directory)
    rest = board.seconds_left()
    left = f", about {words(rest)} left" if rest else ""
    if state == "done" and before == "running":
        return f"{run.title}: {accuracy(run)} in {words(outcome.seconds)}{left}"
    if state == "done":
        return f"{run.title}: {accuracy(run)}, done {'by another process' if before == 'elsewhere' else 'before'}"
    if state == "broken":
        return f"{run.title}: broken: {' '.join(outcome.lines[-2:])}"
    if state == "not run":
        return f"{run.title}: not run, for its training broke"
    if state == "elsewhere":
        return f"{run.title}: waiting for {outcome.lines[-1]}"
    return f"{run.title}: stopped" if state == "waiting" else None


def accuracy(run: Run) -> str:
    """The accuracy in the run's record."""
    try:
        value = json.loads((Path(run.directory) / "metrics.json").read_text(encoding="utf-8")).get("accuracy")
    except (OSError, ValueError, AttributeError):
        value = None
    return f"{value:.1f} %" if isinstance(value, int | float) else "no test"


def fit(text: str, width: int) -> str:
    """`text`, cut to `width`."""
    return text if len(text) <= width else text[: max(1, width - 3)] + "..."


def stdout_view(title: str) -> Lines | Table:
    """The view for the standard output."""
    return make_view(sys.stdout, title)
