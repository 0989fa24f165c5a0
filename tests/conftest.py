"""Small CLIPs, made from a stated recipe, that the whole suite shares."""

from functools import lru_cache

import clip.model
import pytest
import recipe
import torch


@lru_cache(maxsize=2)
def clip_state(geometry: str) -> dict[str, torch.Tensor]:
    """State dict of the recipe's CLIP of that geometry."""
    sizes = recipe.GEOMETRIES[geometry]
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in clip.model.CLIP(**sizes).state_dict().items()}
    return {name: torch.from_numpy(value) for name, value in recipe.clip_state_dict(sizes, shapes).items()}


@lru_cache(maxsize=2)
def clip_model(geometry: str) -> clip.model.CLIP:
    """The recipe's CLIP itself, float32, frozen."""
    model = clip.model.CLIP(**recipe.GEOMETRIES[geometry]).eval().requires_grad_(False)
    model.load_state_dict({name: value.clone() for name, value in clip_state(geometry).items()})
    return model


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """weights(geometry) -> path of a file with the recipe's weights, as a user would name it in the configuration."""
    folder = tmp_path_factory.mktemp("weights")

    def path(geometry: str) -> str:
        file = folder / f"{geometry}.pt"
        if not file.exists():
            torch.save(clip_state(geometry), file)
        return str(file)

    return path
