"""Puts the content of a checkpoint into a model, its optimiser and its schedule, once it is known to fit them."""

from typing import Any

import torch
from torch import nn

from dassl.utils.checkpoint import DAMAGE, CheckpointError, first_line, load_checkpoint, load_newest, strip_module


def resume_from_checkpoint(fdir: str, model: nn.Module, optimizer: Any = None, scheduler: Any = None) -> int:
    """Restore a model, its optimiser and its schedule from the newest checkpoint in `fdir`.

    Returns:
        The number of finished epochs, which is the 0-based epoch to continue with.

    Raises:
        CheckpointError: it cannot be used.
    """
    fpath, checkpoint = load_newest(fdir)
    print(f'Loading checkpoint from "{fpath}"')
    restore(checkpoint, fpath, model, optimizer, scheduler)
    print(f"Previous epoch: {checkpoint['epoch']}")
    return checkpoint["epoch"]


def load_pretrained_weights(model: nn.Module, weight_path: str) -> None:
    """Copy the tensors of a checkpoint or state dict whose name and shape fit `model`; name those left out.

    Raises CheckpointError (a ValueError) if not a single one fits.
    """
    checkpoint = load_checkpoint(weight_path)
    found = strip_module(checkpoint.get("state_dict", checkpoint))
    own = model.state_dict()
    fitting = {k: v for k, v in found.items() if k in own and getattr(v, "shape", None) == own[k].shape}
    if not fitting:
        raise CheckpointError(
            f'None of the {len(found)} entries of "{weight_path}" fits the model by name and shape '
            f"(the model has {', '.join(list(own)[:4])} …); name a file that belongs to this model."
        )
    own.update(fitting)
    model.load_state_dict(own)
    print(f'Successfully loaded pretrained weights from "{weight_path}"')
    left_out = [k for k in found if k not in fitting]
    if left_out:
        print(f"Layers discarded due to unmatched keys or size: {left_out}")


def restore(
    checkpoint: dict[str, Any], fpath: str, model: nn.Module, optimizer: Any = None, scheduler: Any = None
) -> None:
    """Put a checkpoint's weights, optimiser and schedule into the given objects. Raises CheckpointError on a misfit."""
    load_weights(model, checkpoint["state_dict"], fpath)
    for label, target in (("optimizer", optimizer), ("scheduler", scheduler)):
        state = checkpoint.get(label)
        if target is None or state is None:
            continue
        try:
            if label == "scheduler" and "successor" in state and not hasattr(target, "successor"):
                raise ValueError("the saved schedule has a warm-up, but OPTIM.WARMUP_EPOCH asks for none")
            before = _settings(target)
            target.load_state_dict(state)
            if not _alike(before, _settings(target)) or (label == "optimizer" and not _fits_parameters(target)):
                raise ValueError("its entries are not what they should be")
        except DAMAGE as err:
            raise CheckpointError(f'The {label} in "{fpath}" does not fit this run\'s ({first_line(err)}).') from err
        print(f"Loaded {label}")


def load_weights(model: nn.Module, state_dict: dict, fpath: str) -> None:
    """Load a state dict strictly. Raises CheckpointError that names the file and the entries that do not fit."""
    try:
        model.load_state_dict(strip_module(state_dict))
    except (RuntimeError, AttributeError, TypeError) as err:
        detail = " ".join(str(err).split())
        detail = detail if len(detail) <= 600 else detail[:600] + " …"
        raise CheckpointError(f'The weights in "{fpath}" do not belong to this model: {detail}') from err
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise CheckpointError(f'The weights in "{fpath}" are broken: {name} is NaN or infinite.')


def _settings(target: Any) -> Any:
    """Return the plain values of an optimiser's groups, or those of a schedule."""
    if isinstance(target, torch.optim.Optimizer):
        return [{key: value for key, value in group.items() if key != "params"} for group in target.param_groups]
    return target.state_dict()


def _alike(own: Any, loaded: Any) -> bool:
    """Tell whether `loaded`, which replaced `own`, is built like it of values of the same kinds, numbers in bounds."""
    if isinstance(own, dict):
        return isinstance(loaded, dict) and all(key in loaded and _alike(own[key], loaded[key]) for key in own)
    if isinstance(own, list | tuple):
        return type(loaded) is type(own) and len(loaded) == len(own) and all(map(_alike, own, loaded))
    if own is None or isinstance(own, bool):
        return loaded is None or isinstance(loaded, bool)
    if isinstance(own, int | float):
        return type(loaded) in (int, float) and abs(loaded) < 2**53
    return type(loaded) is type(own)


def _fits_parameters(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether each parameter's state holds tensors of its shape and counts of steps, the same for all of them."""

    def fits(parameter: torch.Tensor, name: str, value: Any) -> bool:
        if isinstance(value, torch.Tensor):
            return value.numel() == 1 or value.shape == parameter.shape
        return value is None or (name == "step" and type(value) in (int, float))

    states = dict(optimizer.state)
    if not all(isinstance(state, dict) for state in states.values()):
        return False
    if len({frozenset(state) for state in states.values() if state}) > 1:
        return False
    return all(fits(parameter, *entry) for parameter, state in states.items() for entry in state.items())
