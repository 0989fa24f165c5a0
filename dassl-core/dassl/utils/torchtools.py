"""Counts parameters and starts a model from the weights of another."""

from collections.abc import Iterable

from torch import nn

from dassl.utils.checkpoint import CheckpointError, load_checkpoint, strip_module


def count_num_param(model: nn.Module | None = None, params: nn.Parameter | Iterable[nn.Parameter] | None = None) -> int:
    """Count the numbers in a model's parameters, or in `params`."""
    if params is None:
        if model is None:
            raise ValueError("count_num_param needs a model or its parameters.")
        params = model.parameters()
    elif isinstance(params, nn.Parameter):
        params = [params]
    return sum(p.numel() for p in params)


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
