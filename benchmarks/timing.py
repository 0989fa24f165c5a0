"""Times of jobs that take turns, so that what else the machine does falls on all of them alike."""

import time
from collections.abc import Callable
from statistics import median

import torch

CLOCKS = ("wall", "cpu")


def seconds(clock: str, device: str) -> float:
    """Now, once the device has done its work: by the wall, or as processor time of this process alone.

    Processor time is for a machine that others use as well; it says nothing about an accelerator.
    """
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() if clock == "wall" else time.process_time()


def interleaved(
    jobs: dict[str, Callable[[], object]], repeats: dict[str, int], clock: str = "wall", device: str = "cpu"
) -> dict[str, float]:
    """Median seconds of each job over its repeats; round by round every job has its turn. No warm-up is made here.

    Raises:
        ValueError: the clock is unknown, or does not fit the device.
    """
    if clock not in CLOCKS:
        raise ValueError(f"The clock {clock!r} is none of {', '.join(CLOCKS)}.")
    if clock == "cpu" and device != "cpu":
        raise ValueError("Processor time says nothing about an accelerator; use --clock wall.")
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(max(repeats.values())):
        for name, job in jobs.items():
            if turn < repeats[name]:
                start = seconds(clock, device)
                job()
                taken[name].append(seconds(clock, device) - start)
    return {name: median(times) for name, times in taken.items()}
