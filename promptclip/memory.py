"""What a training step keeps for its backward pass, and giving it up where memory is short (checkpointing)."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch.utils.checkpoint import checkpoint

CHOICES = ("auto", "on", "off")
SHARE = 0.8  # of the free memory that activations may take before "auto" gives them up
# Kept of a token in one block, in widths: inputs of both norms, queries, keys and values (in the text tower behind a
# copy of the prefix's), attention's result, the perceptron's hidden layer; for the shift the second half once more.
WIDTHS, WIDTHS_OF_SHIFT = {"vision": 11, "text": 14}, 8


def kept_bytes(tower: str, tokens: int, width: int, blocks: int, itemsize: int, shift: bool = False) -> int:
    """Estimate of what the "text" or "vision" tower keeps of `tokens` tokens for its backward pass."""
    return tokens * width * blocks * itemsize * (WIDTHS[tower] + WIDTHS_OF_SHIFT * shift)


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free on the device or, for a CPU, on the machine; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    file = Path("/proc/meminfo")
    lines = file.read_text(encoding="ascii").splitlines() if file.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def choose_checkpointing(choice: str, needed: int, free: int | None) -> tuple[bool, str]:
    """Whether to checkpoint, and the line that says so.

    Args:
        choice: "on", "off", or "auto": where the step would take more than `SHARE` of what is free.
        needed, free: bytes; free is None where it is unknown, which "auto" takes for enough.

    Raises:
        ValueError: another choice.
    """
    if choice not in CHOICES:
        raise ValueError(f"MODEL.CHECKPOINTING {choice!r} is none of {', '.join(CHOICES)}.")
    on = choice == "on" or (choice == "auto" and free is not None and needed > SHARE * free)
    known = "an unknown amount" if free is None else f"{free / 2**30:.1f} GiB"
    doing = "blocks are computed again in the backward pass" if on else "activations are kept"
    why = "" if choice == "auto" else f" (MODEL.CHECKPOINTING {choice})"
    return on, f"A training step would keep about {needed / 2**30:.1f} GiB, {known} is free: {doing}{why}."


def recomputed(function: Callable) -> Callable:
    """A form of `function` that keeps its inputs alone and computes the rest again in the backward pass."""
    return partial(checkpoint, function, use_reentrant=False, preserve_rng_state=False)
