"""What is done about memory: what a step will keep (`kept`) against what is free."""

import math
from pathlib import Path
from typing import NamedTuple

import torch

AUTO_ON_OFF = ("auto", "on", "off")
SHARE = 0.7  # of the free memory that may be kept before "auto" does something about it: a peak is up to 1.35 of that
GIVEN_UP = 4  # how many times less is kept, at least, of blocks that are computed again


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free on the device or, for a CPU, on the machine; None where the system does not tell.

    What torch's allocator holds for itself of a GPU is free too.
    """
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    file = Path("/proc/meminfo")
    lines = file.read_text(encoding="ascii").splitlines() if file.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


class Plan(NamedTuple):
    """What a training does about memory.

    Attributes:
        checkpointing: blocks are computed again in the backward pass.
        graph: steps are replays of a CUDA graph.
        line: says so.
    """

    checkpointing: bool
    graph: bool
    line: str


def plan_memory(checkpointing: str, graph: str, needed: int, tested: int, free: int | None) -> Plan:
    """Decide what a training does about memory.

    A graph keeps a step's activations for good, so that evaluation, during which they would else be free, comes on top.

    Args:
        checkpointing: "on", "off", or "auto": where the step would take more than `SHARE` of what is free.
        graph: "on", "off", or "auto": unless that would take more than `SHARE` of what is free.
        needed: bytes that a step keeps for its backward pass.
        tested: bytes that an evaluation takes.
        free: bytes; None where it is unknown, which "auto" takes for enough.

    Raises:
        ValueError: another choice.
    """
    for key, choice in (("MODEL.CHECKPOINTING", checkpointing), ("MODEL.CUDA_GRAPH", graph)):
        if choice not in AUTO_ON_OFF:
            raise ValueError(f"{key} {choice!r} is none of {', '.join(AUTO_ON_OFF)}.")
    limit = math.inf if free is None else SHARE * free

    def given_up(more: int) -> bool:
        return checkpointing == "on" or (checkpointing == "auto" and needed + more > limit)

    on = given_up(0 if graph == "off" else tested)
    replayed = graph == "on" or (graph == "auto" and (needed / GIVEN_UP if on else needed) + tested <= limit)
    on = on if replayed else given_up(0)
    known = "an unknown amount" if free is None else f"{free / 2**30:.1f} GiB"
    doing = "blocks are computed again in the backward pass" if on else "activations are kept"
    why = "" if checkpointing == "auto" else f" (MODEL.CHECKPOINTING {checkpointing})"
    line = f"A training step would keep about {needed / 2**30:.1f} GiB, {known} is free: {doing}{why}."
    if graph == "auto" and not replayed:
        line += f" No CUDA graph of it, which would leave too little for an evaluation's {tested / 2**30:.1f} GiB."
    return Plan(on, replayed, line)
