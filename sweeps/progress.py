"""How far a sweep is: the state of every run, and how long the rest will take."""

import time
from collections.abc import Callable, Iterable
from statistics import fmean

from sweeps.perform import Outcome, PlannedRun, read_record
from sweeps.plan import Plan

FINAL = frozenset({"done", "broken", "not run"})


class Progress:
    """The states of a plan's runs: waiting, running, elsewhere (another process is at it), done, broken, not run (its
    training broke).

    Args:
        plan: the runs.
        jobs: how many are done at once, for the estimate.

    Attributes:
        outcomes: how runs ended, by directory.
        on_change: called with a run whose state has changed, and the state before.
        began: when it was made, by time.monotonic().
    """

    def __init__(self, plan: Plan, jobs: int):
        self.plan, self.began = plan, time.monotonic()
        self.outcomes: dict[str, Outcome] = {}
        self.on_change: Callable[[PlannedRun, str], None] = lambda run, before: None
        self._states = dict.fromkeys(plan.runs, "waiting")
        self._since: dict[str, float] = {}
        self._estimate = Estimate(jobs)

    def done_before(self, directories: Iterable[str]) -> None:
        """Note runs that were finished when the sweep began, and how long they took."""
        for directory in directories:
            self._states[directory] = "done"
            seconds = read_record(self.plan.runs[directory]).get("wall_seconds")
            if isinstance(seconds, int | float) and 0 < seconds < 1e8:
                self._estimate.took(self.plan.runs[directory], seconds)

    def state(self, directory: str) -> str:
        """The state of the run in a directory."""
        return self._states[directory]

    def unfinished(self) -> list[PlannedRun]:
        """The runs that are not at their end, in the plan's order."""
        return [run for run in self.plan.runs.values() if self._states[run.directory] not in FINAL]

    def having(self, *states: str) -> list[PlannedRun]:
        """The runs in one of these states, in the plan's order."""
        return [run for run in self.plan.runs.values() if self._states[run.directory] in states]

    def set(self, run: PlannedRun, state: str, outcome: Outcome | None = None) -> None:
        """Note a run's state, and how it ended if it did."""
        before = self._states[run.directory]
        if outcome:
            self.outcomes[run.directory] = outcome
        if state == before:
            return
        self._states[run.directory] = state
        self._since[run.directory] = time.monotonic()
        if state == "done" and outcome:
            self._estimate.took(run, outcome.seconds)
        self.on_change(run, before)

    def elapsed(self, run: PlannedRun) -> float:
        """Seconds since the run's state changed."""
        return time.monotonic() - self._since.get(run.directory, self.began)

    def seconds_left(self) -> float | None:
        """An estimate; None as long as nothing is known."""
        running = [(run, self.elapsed(run)) for run in self.having("running", "elsewhere")]
        return self._estimate.left(self.having("waiting"), running)


class Estimate:
    """How long runs take, from what runs of a kind (`PlannedRun.kind`) took; `jobs` is how many are done at once."""

    def __init__(self, jobs: int):
        self.jobs = jobs
        self._seen: dict[tuple[str, ...], list[float]] = {}

    def took(self, run: PlannedRun, seconds: float) -> None:
        """Learn from a run that was done."""
        for length in range(1, len(run.kind) + 1):
            self._seen.setdefault(run.kind[:length], []).append(seconds)

    def of(self, run: PlannedRun) -> float | None:
        """Seconds the run will take; None if no training, or no evaluation, is known."""
        for length in range(len(run.kind), 0, -1):
            if seen := self._seen.get(run.kind[:length]):
                return fmean(seen[-20:])
        return None

    def left(self, waiting: Iterable[PlannedRun], running: Iterable[tuple[PlannedRun, float]]) -> float | None:
        """Seconds until all is done; `running` with the seconds they have taken. None if nothing is known yet."""
        guesses = [(self.of(run), took) for run, took in [*((run, 0.0) for run in waiting), *running]]
        known = [guess for guess, _ in guesses if guess is not None]
        if not known:
            return None if guesses else 0.0
        mean = fmean(known)
        rest = [max(0.0, (mean if guess is None else guess) - took) for guess, took in guesses]
        return max(sum(rest) / self.jobs, max(rest))
