"""Checkpoints of Dassl's trainers, upstream's old ones too, read without running anything in them."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from promptclip.weights_file import check_zip

# What old schedules and the optimisers inside them consist of; anything else in a checkpoint is refused.
KNOWN = ("torch.optim.", "dassl.optim.", "collections.defaultdict", "builtins.dict")


class Inert:
    """Stands for an object in a checkpoint: takes its attributes and does nothing."""


def plain_dict(*args: Any) -> dict:
    """Stands for collections.defaultdict: an ordinary dict, which forgets the factory."""
    return {}


def load_checkpoint(fpath: str) -> dict[str, Any]:
    """Read a checkpoint onto the CPU without running anything in it. Raises FileNotFoundError, or ValueError."""
    with open(fpath, "rb"):
        names = []  # what cannot even be opened is an error of its own
    try:
        if zipfile.is_zipfile(fpath):
            check_zip(Path(fpath))
            names = torch.serialization.get_unsafe_globals_in_checkpoint(fpath)
        known: list[Any] = [
            (plain_dict if name.endswith("dict") else Inert, name) for name in names if name.startswith(KNOWN)
        ]
        with torch.serialization.safe_globals(known):
            checkpoint = torch.load(fpath, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes its readers stumble in many ways
        foreign = [name for name in names if not name.startswith(KNOWN)]
        reason = f"it holds an object of {foreign[0]}, which could run code" if foreign else "it is damaged"
        raise ValueError(f'"{fpath}" is no checkpoint that can be used: {reason}.') from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f'"{fpath}" is no checkpoint: it holds a {type(checkpoint).__name__}, not a dict.')
    return checkpoint
