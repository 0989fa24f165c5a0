"""What the whole suite shares."""

from pathlib import Path

import pytest
import torch
from small_clip import as_openais, clip_state

torch.set_num_threads(1)  # the models are so small that a second thread only waits for the first

ROOT = Path(__file__).parents[1]
SMOKE = (  # a minute's worth for while one works: numbers of the references, options, records, tables, splits, folders
    *("tests/trainers/test_golden.py", "tests/trainers/test_golden_cached.py", "tests/trainers/test_options.py"),
    *("tests/promptclip/test_changes.py", "tests/promptclip/test_tokens.py", "tests/promptclip/test_backbone.py"),
    *("tests/promptclip/test_folder.py", "tests/promptclip/test_classifier.py", "tests/runs/test_record.py"),
    *("tests/report/test_tables.py", "tests/sweeps/test_spec.py", "tests/test_configs.py", "tests/test_help.py"),
    *("tests/datasets/test_fewshot.py", "tests/datasets/test_splits.py", "dassl-core/tests/config/test_config.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in `SMOKE`."""
    assert all((ROOT / name).is_file() for name in SMOKE), "a file of SMOKE is gone"
    for item in items:
        marked = item.get_closest_marker("slow") or item.get_closest_marker("gpu")
        if not marked and item.path.relative_to(ROOT).as_posix() in SMOKE:
            item.add_marker("smoke")


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
