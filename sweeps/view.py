"""What a sweep looks like: a live table on a terminal, plain lines elsewhere, and a summary at its end."""

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeps.perform import PlannedRun, read_record
from sweeps.progress import Progress

REDRAW_SECONDS = 0.5


class LinesView:
    """One line for each run that ends, for files and pipes."""

    def __init__(self, progress: Progress, out: TextIO):
        self.progress, self.out = progress, out
        progress.on_change = self.changed

    def changed(self, run: PlannedRun, before: str) -> None:
        """A line for an end, and for a directory that is in use."""
        if sentence := describe(self.progress, run, before):
            done, total = len(self.progress.having("done")), len(self.progress.plan.runs)
            print(f"[{time.strftime('%H:%M:%S')}] {done}/{total} {sentence}", file=self.out, flush=True)

    def refresh(self) -> None:
        """Nothing: lines stay."""

    def close(self) -> None:
        """Nothing is open."""


class TableView:
    """A table of the rows and of what is running; what broke scrolls away above it."""

    def __init__(self, progress: Progress, out: TextIO, title: str):
        self.progress, self.title = progress, title
        self.console = Console(file=out, highlight=False, markup=False)
        self.live = Live(console=self.console, get_renderable=self.render, auto_refresh=False, transient=True)
        self._drawn = 0.0
        progress.on_change = self.changed

    def changed(self, run: PlannedRun, before: str) -> None:
        """A line above the table for what should not be missed."""
        if self.progress.state(run.directory) in ("broken", "not run"):
            self.console.print(describe(self.progress, run, before), soft_wrap=True)
        self._drawn = 0.0

    def refresh(self) -> None:
        """Draw the table again, if it is time to."""
        if time.monotonic() - self._drawn >= REDRAW_SECONDS:
            self.live.start()
            self.live.refresh()
            self._drawn = time.monotonic()

    def close(self) -> None:
        """Take the table away for good: a summary follows."""
        self.live.stop()

    def render(self) -> Group:
        """The table; rows that are done, or have not begun, are left out where the terminal is too low for all."""
        progress, (width, height) = self.progress, self.console.size
        done, total = len(progress.having("done")), len(progress.plan.runs)
        spent, left = duration(time.monotonic() - progress.began), duration(progress.seconds_left())
        head = f"{self.title}: {done} of {total} runs, {spent} so far, about {left} left"
        now = [activity(progress, run) for run in progress.having("running", "elsewhere")]
        table = Table(box=None, pad_edge=False)
        table.add_column("", no_wrap=True, max_width=width - 29)
        for name in ("done", "running", "broken"):
            table.add_column(name, justify="right", width=8, no_wrap=True)
        rows = [(label, [progress.state(one) for one in directories]) for label, directories in progress.plan.rows]
        room = max(1, height - len(now) - 5)
        if len(rows) > room:
            rows = [row for row in rows if set(row[1]) not in ({"done"}, {"waiting"})][: room - 1]
        for label, states in rows:
            running = sum(state in ("running", "elsewhere") for state in states)
            broken = sum(state in ("broken", "not run") for state in states)
            counts = f"{states.count('done')}/{len(states)}", str(running or ""), str(broken or "")
            table.add_row(Text(label, overflow="ellipsis"), *counts)
        left_out = len(progress.plan.rows) - len(rows)
        below = [*([f"(and {left_out} more rows)"] if left_out else []), *(["", *now] if now else [])]
        return Group(*map(one_line, (head, "")), table, *map(one_line, below))


def make_view(progress: Progress, out: TextIO, title: str) -> LinesView | TableView:
    """The view for `out`; it hears of the changes of `progress`."""
    return TableView(progress, out, title) if out.isatty() else LinesView(progress, out)


def one_line(text: str) -> Text:
    """`text`, cut where the terminal ends."""
    return Text(text, no_wrap=True, overflow="ellipsis")


def activity(progress: Progress, run: PlannedRun) -> str:
    """One line on a run that is being done: `epoch 3/10` of a training whose history says so."""
    if progress.state(run.directory) == "elsewhere":
        return f"{run.title}: waiting for {progress.outcomes[run.directory].lines[-1]}"
    try:
        epochs = len(json.loads((Path(run.directory) / "history.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        epochs = None
    where = f"epoch {min(epochs + 1, run.epochs)}/{run.epochs}, " if run.trains and epochs is not None else ""
    return f"{run.title}: {where}{duration(progress.elapsed(run))}"


def describe(progress: Progress, run: PlannedRun, before: str) -> str | None:
    """A sentence on a run's new state; None for a beginning."""
    state, outcome = progress.state(run.directory), progress.outcomes.get(run.directory)
    if state == "done" and before == "running":
        rest = progress.seconds_left()
        left = f", about {duration(rest)} left" if rest else ""
        return f"{run.title}: {accuracy(run)} in {duration(outcome.seconds)}{left}"
    if state == "done":
        return f"{run.title}: {accuracy(run)}, done {'by another process' if before == 'elsewhere' else 'before'}"
    if state == "broken":
        return f"{run.title}: broken: {' '.join(outcome.lines[-2:])}"
    if state == "not run":
        return f"{run.title}: not run, for its training broke"
    if state == "elsewhere":
        return f"{run.title}: waiting for {outcome.lines[-1]}"
    return f"{run.title}: stopped" if state == "waiting" else None


def accuracy(run: PlannedRun) -> str:
    """The accuracy in the run's record."""
    record = read_record(run)
    value = record.get("accuracy")
    return (
        f"{value:.1f} %" if isinstance(value, int | float) else "not possible" if "unsupported" in record else "no test"
    )


def duration(seconds: float | None) -> str:
    """`1:02:03`, or `4 days, 1:02:03`; `?` for None."""
    return "?" if seconds is None else str(timedelta(seconds=round(seconds)))


def summary(progress: Progress, logs: Path) -> list[str]:
    """What to print at the end: for each broken run its last lines, then counts."""
    lines = []
    for run in progress.having("broken"):
        told = progress.outcomes[run.directory].lines
        lines += ["", f"broken: {run.title} ({run.directory})", *(f"    {line}" for line in told)]
    missed = progress.having("not run")
    if missed:
        lines += ["", "not run, because the training they evaluate broke:", *(f"    {run.title}" for run in missed)]
    counts = {state: len(progress.having(state)) for state in ("done", "broken", "not run")}
    counts["not finished"] = len(progress.unfinished())
    told = [f"{count} {state}" for state, count in counts.items() if count or state == "done"]
    lines += ["", f"{len(progress.plan.runs)} runs: {', '.join(told)}."]
    if counts["broken"]:
        lines.append(f"What the broken ones printed is in {logs}; the same command tries them again.")
    elif counts["not finished"]:
        lines.append("The same command resumes.")
    return lines
