"""The local launcher: so many runs at once on this machine, each GPU in turn."""

import hashlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from promptclip.common.files import Lock
from runs.protocols import keep_last_checkpoint
from sweeps.checks import finished, try_lock, user_of
from sweeps.perform import Outcome, PlannedRun, Runner, environment_of
from sweeps.plan import Plan, slug
from sweeps.progress import Progress

TICK_SECONDS = 0.2  # between two looks
IN_USE_SECONDS = 1.0  # until a directory that others use is looked at again


def visible_devices() -> str:
    """The environment variable that names the GPUs a process sees."""
    import torch

    amd = torch.version.hip is not None and "HIP_VISIBLE_DEVICES" in os.environ
    return "HIP_VISIBLE_DEVICES" if amd else "CUDA_VISIBLE_DEVICES"


def gpus() -> list[str]:
    """What `visible_devices` may be set to for one run each; empty without a GPU.

    Slices of a GPU (MIG) and GPUs by name are taken as they are listed: a process sees one slice alone, so that torch
    counts no more.
    """
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get(visible_devices(), "").split(",") if name.strip()]
    if not named or not count:
        return [str(number) for number in range(count)]
    return named[:count] if all(name.isdecimal() for name in named) else named


class Local:
    """Does the runs of a plan with `jobs` processes at once.

    Args:
        plan: what to do.
        runner: does the runs.
        folder: of this sweep, for what runs print; beside it are the locks that all sweeps share.
        jobs: processes at once.
        devices: values of `visible_devices`; job k gets the (k mod n)-th.
        progress: is told what happens.
    """

    stop_message = "stopping: the runs save and end (again: at once)"

    def __init__(self, plan: Plan, runner: Runner, folder: Path, jobs: int, devices: list[str], progress: Progress):
        self.plan, self.runner, self.folder, self.progress = plan, runner, folder, progress
        self.description = f"{jobs} at once"
        self.jobs = jobs
        self.free_devices = [devices[job % len(devices)] if devices else None for job in range(jobs)]
        self.running: dict[Future[Outcome], tuple[PlannedRun, str | None, Lock]] = {}
        self.look_again: dict[str, float] = {}

    def run(self, refresh: Callable[[], None]) -> None:
        """Go through the plan, until all is done or broken, or `runner` was told to stop.

        Args:
            refresh: called at every look, to show how far it is.
        """
        for run in self.progress.having("done"):
            self.tidy(run)
        with ThreadPoolExecutor(max_workers=len(self.free_devices)) as pool:
            while True:
                self.collect()
                if not self.runner.stopping.is_set():
                    self.start(pool.submit)
                refresh()
                if not self.running and (self.runner.stopping.is_set() or not self.progress.unfinished()):
                    return
                time.sleep(TICK_SECONDS)

    def stop(self, at_once: bool) -> None:
        """Have the runs save and end, or kill them; called in a signal handler of the main thread."""
        threading.Thread(target=self.runner.stop, args=[at_once]).start()

    def start(self, submit: Callable[..., Future[Outcome]]) -> None:
        """Start what can be started, in the plan's order."""
        for run in self.progress.unfinished():
            if not self.free_devices:
                return
            if run.needs and self.progress.state(run.needs) in ("broken", "not run"):
                self.progress.set(run, "not run")
            ready = not run.needs or self.progress.state(run.needs) == "done"
            if not ready or self.progress.state(run.directory) in ("running", "not run"):
                continue
            if time.monotonic() < self.look_again.get(run.directory, 0):
                continue
            lock = try_lock(self.lock_file(run))
            if lock is None:
                self.wait(run, "another sweep")
                continue
            if not self.is_to_do(run):
                lock.release()
                continue
            device = self.free_devices.pop(0)
            log = self.folder / "logs" / f"{file_name(run)}.txt"
            self.tidy_mark(run).unlink(missing_ok=True)
            if run.trains and not run.keeps_all:
                self.tidy_mark(run).touch()
            self.progress.set(run, "running")
            environment = environment_of(run) | {"DASSL_JOBS": str(self.jobs)}
            environment |= {} if device is None else {visible_devices(): device}
            future = submit(self.runner.perform, run, environment, log)
            self.running[future] = run, device, lock

    def is_to_do(self, run: PlannedRun) -> bool:
        """Whether the run may be started now; notes it if it is done, in use, or its directory another run's."""
        try:
            if finished(run, self.plan.configs[run.directory]):
                self.tidy(run)
                self.progress.set(run, "done")
            elif user := user_of(run):
                self.wait(run, user)
            else:
                return True
        except ValueError as error:
            self.progress.set(run, "broken", Outcome("broken", lines=(str(error),)))
        return False

    def lock_file(self, run: PlannedRun) -> Path:
        """Locked by the sweep that is at the run."""
        return self.folder.parent / "locks" / file_name(run)

    def tidy_mark(self, run: PlannedRun) -> Path:
        """A file that says: this training keeps every checkpoint for resuming only, nobody asked for them."""
        return self.lock_file(run).with_name(f"{file_name(run)}.extra")

    def tidy(self, run: PlannedRun) -> None:
        """Remove the extra checkpoints of a training that ended without its sweep."""
        if self.tidy_mark(run).exists():
            keep_last_checkpoint(run.directory, run.epochs)
            self.tidy_mark(run).unlink(missing_ok=True)

    def wait(self, run: PlannedRun, user: str) -> None:
        """Leave the run to whoever is at it, and look again later: it may be killed, or done."""
        self.look_again[run.directory] = time.monotonic() + IN_USE_SECONDS
        self.progress.set(run, "elsewhere", Outcome("busy", 0.0, (user,)))

    def collect(self) -> None:
        """Take note of the runs that ended."""
        for future in [future for future in self.running if future.done()]:
            run, device, lock = self.running.pop(future)
            lock.release()
            self.free_devices.append(device)
            try:
                outcome = future.result()
            except OSError as error:  # its output cannot be written, or no process be started
                outcome = Outcome("broken", lines=(str(error),))
            if outcome.kind == "done":
                self.tidy_mark(run).unlink(missing_ok=True)
            if outcome.kind == "busy":
                self.wait(run, user_of(run) or "another process")
            else:
                self.progress.set(run, {"stopped": "waiting"}.get(outcome.kind, outcome.kind), outcome)


def file_name(run: PlannedRun) -> str:
    """A file name for the run, the same whatever sweep it belongs to."""
    digits = hashlib.sha256(os.path.realpath(run.directory).encode()).hexdigest()[:8]
    return f"{slug(run.title)[:100]}-{digits}"
