"""What a training step takes of the memory that is free, and what is done about it.

An estimate, from the tokens that go through the towers: it is held against what a step really keeps in tests, and with
`python -m benchmarks.memory`.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from promptclip.changes import BlockChange

AUTO_ON_OFF = ("auto", "on", "off")
SHARE = 0.8  # of the free memory that may be taken before "auto" does something about it
# Kept of a token in one block, in widths: inputs of both norms, queries, keys and values (in the text tower behind a
# copy of the prefix's), attention's result, the perceptron's hidden layer; for the shift the second half once more.
WIDTHS, WIDTHS_OF_SHIFT = {"vision": 11, "text": 14}, 8
WIDTHS_OF_ATTENTION = 4  # queries, keys, values, result
WIDTHS_OF_DELTA, WIDTHS_OF_DROPOUT, WIDTHS_OF_ADAPTER = 1, 7, 1  # their inputs; of dropout's three, masks as well
GIVEN_UP = 4  # how many times less is kept, at least, of blocks that are computed again


def kept_bytes(tower: str, tokens: int, width: int, blocks: int, itemsize: int, shift: bool = False) -> int:
    """Estimate of what the "text" or "vision" tower keeps of `tokens` tokens for its backward pass."""
    return tokens * width * blocks * itemsize * (WIDTHS[tower] + WIDTHS_OF_SHIFT * shift)


def first_change(
    changes: Sequence[BlockChange | None], counts: Callable[[BlockChange], bool] = lambda change: True
) -> int:
    """How many blocks come before the first with a change that `counts`; a great many where there is none."""
    return next((n for n, change in enumerate(changes) if change is not None and counts(change)), 1_000_000)


def kept_besides(changes: Sequence[BlockChange | None], width: int, itemsize: int) -> int:
    """Estimate of what changes keep of a token beside the blocks, all of them together."""
    widths = sum(
        (WIDTHS_OF_DROPOUT if change.random else WIDTHS_OF_DELTA) * (change.delta is not None)
        + WIDTHS_OF_ADAPTER * (change.adapter is not None)
        for change in changes
        if change is not None
    )
    return widths * width * itemsize


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
