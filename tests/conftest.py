"""What the whole suite shares."""

import pytest
import torch
from small_clip import as_openais, clip_state

torch.set_num_threads(1)  # the models are so small that a second thread only waits for the first


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """weights(geometry) -> path of a file with the recipe's weights, as a user would name it in the configuration."""
    folder = tmp_path_factory.mktemp("weights")

    def path(geometry: str) -> str:
        file = folder / f"{geometry}.pt"
        if not file.exists():
            torch.save(as_openais(clip_state(geometry)), file)
        return str(file)

    return path
