"""What a sweep leaves beside its runs: labels and order of its rows for report/, and what to read when it ends."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runs.record import write_atomically
from sweeps.board import Board
from sweeps.plan import Plan


def write_rows(path: Path, spec: Mapping[str, Any], plan: Plan, output: str) -> None:
    """Write `{"name", "spec", "rows": [{"label", "runs": [directory below `output`]}]}`."""
    rows = [
        {"label": label, "runs": [os.path.relpath(directory, output) for directory in directories]}
        for label, directories in plan.rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"name": spec["name"], "spec": dict(spec), "rows": rows}
    write_atomically(path, json.dumps(content, indent=2, default=str) + "\n")


def closing(board: Board, logs: Path) -> list[str]:
    """What to print at the end: counts, and for each broken run its last lines."""
    lines = []
    for run in board.of("broken"):
        lines += ["", f"broken: {run.title} ({run.directory})", *(f"    {line}" for line in last(board, run))]
    missed = board.of("not run")
    if missed:
        lines += ["", "not run, because the training they evaluate broke:", *(f"    {run.title}" for run in missed)]
    counts = {state: len(board.of(state)) for state in ("done", "broken", "not run")}
    counts["not finished"] = len(board.left())
    told = [f"{count} {state}" for state, count in counts.items() if count or state == "done"]
    lines += ["", f"{len(board.plan.runs)} runs: {', '.join(told)}."]
    if board.of("broken"):
        lines.append(f"What the broken ones printed is in {logs}; the same command tries them again.")
    elif board.left():
        lines.append("The same command goes on.")
    return lines


def last(board: Board, run: Any) -> tuple[str, ...]:
    """The last lines of a broken run."""
    return board.outcomes[run.directory].lines
