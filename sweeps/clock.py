"""How long the rest will take, from what like runs took."""

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

from sweeps.run import Run


class Clock:
    """Durations of runs, by `Run.alike`: the more of it two runs share, from the left, the better the guess.

    `jobs` is how many go on at once.
    """

    def __init__(self, jobs: int):
        self.jobs = jobs
        self._seen: dict[tuple[str, ...], list[float]] = {}

    def took(self, run: Run, seconds: float) -> None:
        """Learn from a run that was done."""
        for length in range(len(run.alike) + 1):
            self._seen.setdefault(run.alike[:length], []).append(seconds)

    def read(self, runs: Iterable[Run]) -> None:
        """Learn from the records of runs that were done before."""
        for run in runs:
            try:
                seconds = json.loads((Path(run.directory) / "metrics.json").read_text(encoding="utf-8"))["wall_seconds"]
            except (OSError, ValueError, TypeError, KeyError):
                continue
            if isinstance(seconds, int | float) and 0 < seconds < 1e8:
                self.took(run, float(seconds))

    def guess(self, run: Run) -> float | None:
        """Seconds the run will take; None if no run of its kind (training, evaluation) is known."""
        for length in range(len(run.alike), 0, -1):
            if seen := self._seen.get(run.alike[:length]):
                return fmean(seen[-20:])
        return None

    def left(self, waiting: Iterable[Run], running: Iterable[tuple[Run, float]]) -> float | None:
        """Seconds until all is done; `running` with the seconds they have taken. None if nothing is known yet."""
        running = list(running)
        guesses = [(self.guess(run), took) for run, took in [*((run, 0.0) for run in waiting), *running]]
        known = [guess for guess, _ in guesses if guess is not None]
        if not known:
            return None if guesses else 0.0
        usual = fmean(known)
        rest = [max(0.0, (usual if guess is None else guess) - took) for guess, took in guesses]
        return max(sum(rest) / self.jobs, max(rest))


def words(seconds: float | None) -> str:
    """`1:02:03`, or `4 d 1:02:03`; `?` for None."""
    if seconds is None:
        return "?"
    days, rest = divmod(round(seconds), 86_400)
    text = f"{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days} d {text}" if days else text
