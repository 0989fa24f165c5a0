"""Heads: modules between a backbone and the classifier."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from dassl.utils import Registry, check_availability

HEAD_REGISTRY = Registry("HEAD")

_ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


def build_head(name: str, verbose: bool = True, **kwargs: Any) -> nn.Module:
    """Return the head of that name. Raises UnknownName (a KeyError) with the nearest name."""
    return HEAD_REGISTRY.build(name, verbose=verbose, **kwargs)


@HEAD_REGISTRY.register()
def mlp(
    in_features: int,
    hidden_layers: Sequence[int] = (),
    activation: str = "relu",
    bn: bool = True,
    dropout: float = 0.0,
    **kwargs: Any,
) -> nn.Sequential:
    """Return linear layers of the given widths, each with batch norm, activation and dropout as asked."""
    check_availability(activation, _ACTIVATIONS, "activation")
    layers: list[nn.Module] = []
    for width in hidden_layers:
        layers.append(nn.Linear(in_features, width))
        if bn:
            layers.append(nn.BatchNorm1d(width))
        layers.append(_ACTIVATIONS[activation]())
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        in_features = width
    head = nn.Sequential(*layers)
    head.out_features = in_features
    return head
