"""Small CLIPs made from the recipe that the golden numbers state."""

from copy import deepcopy
from functools import lru_cache

import clip.model
import recipe
import torch


@lru_cache(maxsize=3)
def clip_state(geometry: str) -> dict[str, torch.Tensor]:
    """State dict of the recipe's CLIP of that geometry."""
    sizes = recipe.GEOMETRIES[geometry]
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in clip.model.CLIP(**sizes).state_dict().items()}
    return {name: torch.from_numpy(value) for name, value in recipe.clip_state_dict(sizes, shapes).items()}


def as_openais(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict with what OpenAI's archives hold beside weights, by which the activation is known."""
    return state | {key: torch.tensor(0) for key in ("input_resolution", "context_length", "vocab_size")}


@lru_cache(maxsize=3)
def clip_model(geometry: str) -> clip.model.CLIP:
    """The recipe's CLIP itself, float32, frozen."""
    model = clip.model.CLIP(**recipe.GEOMETRIES[geometry]).eval().requires_grad_(False)
    model.load_state_dict({name: value.clone() for name, value in clip_state(geometry).items()})
    return model


def in_double(model: clip.model.CLIP) -> clip.model.CLIP:
    """A copy in double precision throughout: clip's own norms round to single on the way."""
    model = deepcopy(model).double()
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.__class__ = torch.nn.LayerNorm
    return model
