"""The local launcher: so many runs at once on this machine, each GPU in turn."""

import hashlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock, Timeout

from runs.protocols import keep_last_checkpoint
from sweeps.board import Board
from sweeps.perform import Manner, Outcome, Processes, environment_of, perform
from sweeps.plan import Plan, slug
from sweeps.run import Run
from sweeps.state import finished, in_use

TICK = 0.2  # seconds between two looks
AGAIN = 1.0  # seconds until a directory that others use is looked at again


def gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may be set to for one run each; empty without a GPU."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named[:count] if named else [str(number) for number in range(count)]


class Local:
    """Does the runs of a plan with `jobs` processes at once.

    Args:
        plan: what to do.
        manner: how runs are done.
        folder: of this sweep, for what runs print; beside it are the locks that all sweeps share.
        jobs: processes at once.
        devices: values of CUDA_VISIBLE_DEVICES; job k gets the (k mod n)-th.
        board: is told what happens.
    """

    farewell = "stopping: the runs save and end (again: at once)"

    def __init__(self, plan: Plan, manner: Manner, folder: Path, jobs: int, devices: list[str], board: Board):
        self.plan, self.manner, self.folder, self.board = plan, manner, folder, board
        self.processes = Processes()
        self.how = f"{jobs} at once"
        self.slots = [devices[job % len(devices)] if devices else None for job in range(jobs)]
        self.going: dict[Future[Outcome], tuple[Run, str | None, FileLock]] = {}
        self.look_again: dict[str, float] = {}

    def run(self) -> None:
        """Go through the plan, until all is done or broken, or `processes` was told to stop."""
        for run in self.board.of("done"):
            self.tidy(run)
        with ThreadPoolExecutor(max_workers=len(self.slots)) as pool:
            while True:
                self.collect()
                if not self.processes.stopping.is_set():
                    self.start(pool.submit)
                self.board.draw()
                if not self.going and (self.processes.stopping.is_set() or not self.board.left()):
                    return
                time.sleep(TICK)

    def stop(self, at_once: bool) -> None:
        """Have the runs save and end, or kill them; called in a signal handler of the main thread."""
        threading.Thread(target=self.processes.kill if at_once else self.processes.stop).start()

    def start(self, submit: Callable[..., Future[Outcome]]) -> None:
        """Start what can be started, in the plan's order."""
        for run in self.board.left():
            if not self.slots:
                return
            if run.needs and self.board.state(run.needs) in ("broken", "not run"):
                self.board.set(run, "not run")
            ready = not run.needs or self.board.state(run.needs) == "done"
            if not ready or self.board.state(run.directory) in ("running", "not run"):
                continue
            if time.monotonic() < self.look_again.get(run.directory, 0):
                continue
            claim = self.claim(run)
            if claim is None:
                continue
            slot = self.slots.pop(0)
            log = self.folder / "logs" / f"{name_of(run)}.txt"
            self.extra(run).unlink(missing_ok=True)
            if run.trains and not run.keeps:
                self.extra(run).touch()
            self.board.set(run, "running")
            environment = environment_of(run, slot)
            future = submit(perform, run, self.manner, self.processes, environment, log)
            self.going[future] = run, slot, claim

    def claim(self, run: Run) -> FileLock | None:
        """The lock that keeps other sweeps from this run; None if it need, or may, not be started now."""
        path = self.folder.parent / "locks" / name_of(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        claim = FileLock(path, blocking=False)
        try:
            claim.acquire()
        except Timeout:
            self.wait(run, "another sweep")
            return None
        try:
            done = finished(run, self.plan.configs[run.directory])
            holder = None if done else in_use(run)
        except ValueError as error:
            self.board.set(run, "broken", Outcome("broken", 0.0, (str(error),)))
        else:
            if not done and not holder:
                return claim
            if done:
                self.tidy(run)
                self.board.set(run, "done")
            else:
                self.wait(run, holder)
        claim.release()
        return None

    def extra(self, run: Run) -> Path:
        """A mark: this training keeps every checkpoint for resuming only; not there if somebody asked for them."""
        return self.folder.parent / "locks" / f"{name_of(run)}.extra"

    def tidy(self, run: Run) -> None:
        """Remove the extra checkpoints of a training that ended after its sweep was killed."""
        if self.extra(run).exists():
            keep_last_checkpoint(run.directory, run.epochs)
            self.extra(run).unlink(missing_ok=True)

    def wait(self, run: Run, holder: str) -> None:
        """Leave the run to whoever is at it, and look again later: it may be killed, or done."""
        self.look_again[run.directory] = time.monotonic() + AGAIN
        self.board.set(run, "elsewhere", Outcome("busy", 0.0, (holder,)))

    def collect(self) -> None:
        """Take note of the runs that ended."""
        for future in [future for future in self.going if future.done()]:
            run, slot, claim = self.going.pop(future)
            claim.release()
            self.slots.append(slot)
            try:
                outcome = future.result()
            except OSError as error:  # its output cannot be written, or its interpreter not be started
                outcome = Outcome("broken", lines=(str(error),))
            if outcome.kind == "done":
                self.extra(run).unlink(missing_ok=True)
            if outcome.kind == "busy":
                self.wait(run, outcome.lines[-1])
            else:
                self.board.set(run, {"stopped": "waiting"}.get(outcome.kind, outcome.kind), outcome)


def name_of(run: Run) -> str:
    """A file name for the run, the same whatever sweep it belongs to."""
    digits = hashlib.sha256(os.path.realpath(run.directory).encode()).hexdigest()[:8]
    return f"{slug(run.title)[:100]}-{digits}"
