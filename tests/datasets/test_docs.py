"""docs/datasets.md says what is so."""

import re
from pathlib import Path

import pytest
from dassl.data.datasets import DATASET_REGISTRY
from trees import NAMES, class_folders

from runs.config import default_config, merge_file

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "datasets.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ")]
TABLE = [[cell.strip() for cell in row] for row in ROWS[1:]]


def test_the_table_is_of_the_fifteen():
    assert sorted(row[0] for row in TABLE) == sorted(NAMES)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_a_row_of_the_table(row):
    name, stem, folder, images, made_from = row
    cls = DATASET_REGISTRY.get(name)
    cfg = default_config()
    merge_file(cfg, REPOSITORY / "configs" / "datasets" / f"{stem}.yaml")
    assert (cfg.DATASET.NAME, cls.dataset_dir) == (name, folder)
    assert images.startswith(cls.image_dir or "cars_train")
    assert made_from.startswith("none") != bool(cls.split_file)


def test_the_data_set_of_the_page(tmp_path, load, monkeypatch):
    monkeypatch.setattr(DATASET_REGISTRY, "_obj_map", dict(DATASET_REGISTRY._obj_map))
    code = re.search(r"```python\n(.*?)```", PAGE, re.S).group(1)
    exec(code, {"__name__": "datasets.gravel"})
    class_folders(tmp_path / "gravel" / "images", ["fine", "coarse"])
    assert load("Gravel", tmp_path).classnames == ["coarse", "fine"]
