"""What a step costs: operations and bytes counted, which is what times and peaks are judged by, and times taken."""

import time
from collections.abc import Callable
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

CLOCKS = ("wall", "cpu")


def _attention(query, key, value, *args, out_shape=None, **kwargs) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad, query, key, value, *args, out_shape=None, **kwargs) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


# torch counts the fused attention of accelerators, not the CPU's
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def flops(call: Callable[[], object]) -> int:
    """Floating point operations of matrix products, convolutions and attention in `call()`, backward included."""
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        call()
    return counter.get_total_flops()


def saved_bytes(call: Callable[[], object], frozen: torch.nn.Module) -> int:
    """Bytes that `call()` keeps for its backward pass, each storage once, the weights of `frozen` left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in frozen.parameters()}
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept.append(tensor)  # alive, so that no address is given out twice
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return sum(storages.values())


def extrapolate(points: dict[int, float], at: int) -> float:
    """The straight line through two points, at `at`: what a plain path costs grows by the same with every class.

    Raises:
        ValueError: not two points.
    """
    if len(points) != 2:
        raise ValueError(f"A line goes through 2 points, not {len(points)}.")
    (x0, y0), (x1, y1) = sorted(points.items())
    return y0 + (y1 - y0) / (x1 - x0) * (at - x0)


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
    """Median seconds of each job over its repeats. No warm-up is made here.

    The jobs take turns, round by round, so that what else the machine does falls on all of them alike.

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
