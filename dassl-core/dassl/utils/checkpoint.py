"""Writes checkpoints that are complete or absent, and reads them without running what is in them."""

import os.path as osp
import pickle
import re
import shutil
import warnings
import zipfile
from typing import Any

import torch

from dassl.utils.tools import atomic_write, mkdir_if_missing

POINTER = "checkpoint"
"""Text file beside the checkpoints that names the one written last."""
MAX_EPOCH = 1_000_000
DAMAGE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What reading an entry that is not what it should be ends in."""


class CheckpointError(ValueError):
    """A file that is no usable checkpoint; the text is one sentence that names it."""


def strip_module(state_dict: dict) -> dict:
    """Remove the leading `module.` that nn.DataParallel puts before every key."""
    return {k[7:] if isinstance(k, str) and k.startswith("module.") else k: v for k, v in state_dict.items()}


def save_checkpoint(
    state: dict[str, Any],
    save_dir: str,
    is_best: bool = False,
    remove_module_from_keys: bool = True,
    model_name: str = "",
) -> None:
    """Write `state` to `save_dir`/model.pth.tar-<epoch> (or `model_name`) and its name to `save_dir`/checkpoint.

    Both files appear complete or not at all; the checkpoint before stays until then. With `is_best` the file is also
    copied to model-best.pth.tar.

    Raises:
        OSError: the disk is full or read-only; names the path.
    """
    fpath = write_checkpoint(state, save_dir, remove_module_from_keys, model_name)
    write_pointer(fpath)
    if is_best:
        with open(fpath, "rb") as source, atomic_write(osp.join(save_dir, "model-best.pth.tar")) as best:
            shutil.copyfileobj(source, best)


def write_checkpoint(
    state: dict[str, Any], save_dir: str, remove_module_from_keys: bool = True, model_name: str = ""
) -> str:
    """Write the checkpoint file alone and return its path; write_pointer makes it the newest."""
    mkdir_if_missing(save_dir)
    if remove_module_from_keys:
        state = {**state, "state_dict": strip_module(state["state_dict"])}
    fpath = osp.join(save_dir, model_name or f"model.pth.tar-{state['epoch']}")
    with atomic_write(fpath) as f:
        torch.save(state, f)
    print(f"Checkpoint saved to {fpath}")
    return fpath


def write_pointer(fpath: str) -> None:
    """Name the checkpoint `fpath` as the newest one of its folder."""
    with atomic_write(osp.join(osp.dirname(fpath), POINTER), "w") as f:
        f.write(osp.basename(fpath) + "\n")


def load_checkpoint(fpath: str) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; one written by upstream Dassl too, whose pickled schedulers become inert.

    Nothing in the file is ever executed.

    Raises:
        FileNotFoundError: there is none.
        CheckpointError: the file is empty, damaged, no checkpoint, or holds an object other than tensors and plain
            values (a ValueError).
    """
    if fpath is None:
        raise ValueError("No checkpoint path was given.")
    if not osp.isfile(fpath):
        raise FileNotFoundError(f'There is no checkpoint at "{fpath}".')
    with open(fpath, "rb"):
        pass  # a file that may not be read is an OSError of its own; whatever fails from here on is the content
    try:
        _test_check_sums(fpath)
        with warnings.catch_warnings(), torch.serialization.safe_globals(SAFE_GLOBALS):
            warnings.simplefilter("ignore")
            checkpoint = torch.load(fpath, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as err:  # a damaged archive makes its readers stumble in many ways
        raise CheckpointError(_refusal(fpath, err)) from err
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'"{fpath}" is not a checkpoint: it holds a {type(checkpoint).__name__}, not a dict.')
    if "state_dict" in checkpoint:
        _check_entries(checkpoint, fpath)
    return checkpoint


def _check_entries(checkpoint: dict[str, Any], fpath: str) -> None:
    """Raise CheckpointError if the weights are no tensors by name, or `epoch` is no number of epochs."""
    weights = checkpoint["state_dict"]
    if not isinstance(weights, dict):
        raise CheckpointError(f'"{fpath}" is no usable checkpoint: its state_dict is a {type(weights).__name__}.')
    for name, value in weights.items():
        # torch lets modules save other things under this name
        tensor = isinstance(value, torch.Tensor) or str(name).endswith("_extra_state")
        if not isinstance(name, str) or not tensor:
            raise CheckpointError(
                f'"{fpath}" is no usable checkpoint: its state_dict must hold tensors by name, not '
                f"{name!r:.80}: a {type(value).__name__}."
            )
    epoch = checkpoint.get("epoch", 0)
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch <= MAX_EPOCH:
        raise CheckpointError(
            f'"{fpath}" is no usable checkpoint: its epoch must be a whole number from 0 to {MAX_EPOCH:,}, '
            f"not {epoch!r:.80}."
        )


def load_newest(fdir: str) -> tuple[str, dict[str, Any]]:
    """Return path and content of the checkpoint that `fdir`/checkpoint names.

    Raises:
        CheckpointError: that file cannot be used; training on from an older one unasked would hide the loss.
    """
    return load_named(fdir, newest_name(fdir))


def newest_name(fdir: str) -> str:
    """Return the file name that `fdir`/checkpoint holds. Raises CheckpointError if it is none."""
    pointer = osp.join(fdir, POINTER)
    with open(pointer, encoding="utf-8", errors="replace") as f:
        name = f.readline().strip()
    if not name or osp.basename(name) != name:
        raise CheckpointError(f'"{pointer}" must hold the name of a checkpoint beside it, not "{name[:80]}".')
    return name


def load_named(fdir: str, name: str) -> tuple[str, dict[str, Any]]:
    """Return path and content of the checkpoint `name` in `fdir` to resume from. Raises CheckpointError."""
    fpath = osp.join(fdir, name)
    try:
        checkpoint = load_checkpoint(fpath)
        require_keys(checkpoint, fpath, "state_dict", "epoch")
        named = re.match(r"model\.pth\.tar-(\d+)(?!\d)", name)
        if named and int(named[1]) != checkpoint["epoch"]:
            raise CheckpointError(
                f'"{fpath}" is not what its name says: it was saved after epoch {checkpoint["epoch"]}.'
            )
    except (ValueError, OSError) as err:
        raise CheckpointError(
            f"Training cannot be resumed: {err} To resume, write the name of an older checkpoint into "
            f'"{osp.join(fdir, POINTER)}", or delete "{fdir}" to train from scratch.'
        ) from err
    return fpath, checkpoint


def require_keys(checkpoint: dict[str, Any], fpath: str, *keys: str) -> None:
    """Raise CheckpointError if `checkpoint`, read from `fpath`, lacks one of `keys`."""
    missing = [key for key in keys if key not in checkpoint]
    if missing:
        raise CheckpointError(f'"{fpath}" is not a training checkpoint: it has no entry {" and no ".join(missing)}.')


def _test_check_sums(fpath: str) -> None:
    """Raise CheckpointError if a part of the zip archive is damaged, which torch would not notice, or a bomb."""
    if zipfile.is_zipfile(fpath):
        with zipfile.ZipFile(fpath) as archive:
            if sum(part.file_size for part in archive.infolist()) > osp.getsize(fpath):
                raise CheckpointError(f'"{fpath}" is no checkpoint: its parts are larger than the file (compressed).')
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(
                f'The checkpoint "{fpath}" is damaged (bad check sum in {damaged}); get a fresh copy.'
            )


def first_line(err: BaseException) -> str:
    return (str(err).strip().splitlines() or [""])[0][:120]


def _refusal(fpath: str, err: Exception) -> str:
    """Say why a file cannot be read: it names a class that may not be built, or it is no checkpoint at all."""
    text = str(err)
    foreign = re.search(r"GLOBAL (\S+)", text)
    if isinstance(err, pickle.UnpicklingError) and foreign:
        return (
            f'"{fpath}" was refused: besides tensors it holds an object of {foreign[1]}, which could run code when '
            f"unpickled. Nothing in it was executed."
        )
    # torch puts a page of advice before the reason.
    reason = first_line(Exception(text.partition("WeightsUnpickler error:")[2])) or first_line(err)
    return (
        f'"{fpath}" is not a readable checkpoint: it is empty, cut short, damaged or of another kind '
        f"({type(err).__name__}{': ' if reason else ''}{reason})."
    )


# What upstream Dassl pickles into a checkpoint's `scheduler` entry: its warm-up scheduler saves its successor as an
# object, which drags the optimiser along. These class names are mapped to the stand-ins below, so that
# torch.load(weights_only=True) can read such files: nothing of theirs is run, the attributes are only put into a dict.


class Inert:
    """An unpickled object reduced to its attributes, in `state`."""

    state: dict = {}  # unpickling does not go through __init__

    def __init__(self, *args: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


def plain_dict(*args: Any) -> dict:
    """Stand for collections.defaultdict: an ordinary dict, which forgets the factory."""
    return {}


_SCHEDULERS = ("CosineAnnealingLR", "StepLR", "MultiStepLR", "LambdaLR")
_OPTIMISERS = ("sgd.SGD", "adam.Adam", "adamw.AdamW", "rmsprop.RMSprop", "radam.RAdam")
_DASSL = (
    "optim.lr_scheduler.ConstantWarmupScheduler",
    "optim.lr_scheduler.LinearWarmupScheduler",
    "optim.radam.RAdam",
    "optim.radam.PlainRAdam",
    "optim.radam.AdamW",
)

SAFE_GLOBALS = [
    *((Inert, f"torch.optim.lr_scheduler.{name}") for name in _SCHEDULERS),
    *((Inert, f"torch.optim.{name}") for name in _OPTIMISERS),
    *((Inert, f"dassl.{name}") for name in _DASSL),
    (plain_dict, "collections.defaultdict"),
    # the factory of old optimisers' defaultdict(dict)
    (plain_dict, "builtins.dict"),
]
