"""How far a sweep is: the state of every run, told to whoever shows it."""

import time
from dataclasses import dataclass, field
from typing import Protocol

from sweeps.clock import Clock
from sweeps.perform import Outcome
from sweeps.plan import Plan
from sweeps.run import Run

FINAL = frozenset({"done", "broken", "not run"})
STATES = ("waiting", "running", "elsewhere", *sorted(FINAL))


class View(Protocol):
    """What shows a board."""

    def tell(self, board: "Board", run: Run, before: str) -> None:
        """The run's state changed."""

    def draw(self, board: "Board") -> None:
        """Called several times a second."""

    def close(self) -> None:
        """Nothing more comes."""


@dataclass
class Board:
    """States: waiting, running, elsewhere (another process is at it), done, broken, not run (its training broke)."""

    plan: Plan
    view: View
    clock: Clock
    states: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.states |= dict.fromkeys(self.plan.runs, "waiting")

    def state(self, directory: str) -> str:
        """The state of the run in a directory."""
        return self.states[directory]

    def left(self) -> list[Run]:
        """The runs that are not at their end, in the plan's order."""
        return [run for run in self.plan.runs.values() if self.states[run.directory] not in FINAL]

    def of(self, *states: str) -> list[Run]:
        """The runs in one of these states, in the plan's order."""
        return [run for run in self.plan.runs.values() if self.states[run.directory] in states]

    def set(self, run: Run, state: str, outcome: Outcome | None = None) -> None:
        """Note a run's state, and how it ended if it did."""
        before = self.states[run.directory]
        if outcome:
            self.outcomes[run.directory] = outcome
        if state == before:
            return
        self.states[run.directory] = state
        self.since[run.directory] = time.monotonic()
        if state == "done" and outcome:
            self.clock.took(run, outcome.seconds)
        self.view.tell(self, run, before)

    def draw(self) -> None:
        """Show how far it is."""
        self.view.draw(self)

    def elapsed(self, run: Run) -> float:
        """Seconds since the run's state changed."""
        return time.monotonic() - self.since.get(run.directory, self.began)

    def seconds_left(self) -> float | None:
        """An estimate; None as long as nothing is known."""
        running = [(run, self.elapsed(run)) for run in self.of("running", "elsewhere")]
        return self.clock.left(self.of("waiting"), running)
