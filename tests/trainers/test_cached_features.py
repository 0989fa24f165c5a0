"""Which images the methods on cached features look at, and how often."""

import pytest
import recipe
import torch
from trainer_factory import NAMES, batches, configuration, make

NODES = {"TipAdapter": "TIP_ADAPTER", "TipAdapter_F": "TIP_ADAPTER_F", "LPpp": "LPPP"}
SPLIT_MARKS = {"val": "val", "test": "test", "none": None}


def trained(name, weights, folder, options, missing=()):
    """(trainer after training, [(split, augmented)] that it asked for); splits in `missing` have no images."""
    opts = [item for key, value in options.items() for item in (f"TRAINER.{NODES[name]}.{key}", value)]
    cfg = configuration(name, weights("tiny12"), 32, folder, opts, epochs=2)
    loader = batches(recipe.images(32)[0], torch.arange(8) % 6, 4)
    trainer = make(cfg, NAMES, loader)
    asked = []

    def feature_loader(split, augmented):
        asked.append((split, augmented))
        return None if split in missing else loader

    trainer.feature_loader = feature_loader
    trainer.train()
    return trainer, asked


@pytest.mark.parametrize("split", SPLIT_MARKS)
@pytest.mark.parametrize("name", NODES)
def test_only_the_chosen_split_is_looked_at(name, split, weights, tmp_path):
    missing = {"val", "test"} - {split}
    trainer, asked = trained(name, weights, tmp_path, {"SELECT_ON": split, "VIEWS": 1}, missing)
    assert {one for one, _ in asked} == {"train"} | ({split} - {"none"})
    assert not any(augmented for one, augmented in asked if one != "train")
    assert trainer.learner.head.selected_on == SPLIT_MARKS[split]


@pytest.mark.parametrize("name", NODES)
def test_without_validation_images_nothing_is_chosen_elsewhere(name, weights, tmp_path):
    with pytest.raises(ValueError, match="no val images"):
        trained(name, weights, tmp_path, {"VIEWS": 1}, missing={"val"})


@pytest.mark.parametrize(("views", "passes"), [(0, [False]), (1, [True]), (3, [True] * 3)])
@pytest.mark.parametrize("name", ["TipAdapter", "LPpp"])
def test_views_are_passes_of_augmented_images(name, views, passes, weights, tmp_path):
    _, asked = trained(name, weights, tmp_path, {"VIEWS": views, "SELECT_ON": "none"})
    assert [augmented for _, augmented in asked] == passes


@pytest.mark.parametrize(("views", "passes"), [(0, [False] * 3), (2, [True] * 4)])
def test_keys_learn_from_one_fresh_pass_an_epoch(views, passes, weights, tmp_path):
    _, asked = trained("TipAdapter_F", weights, tmp_path, {"VIEWS": views, "SELECT_ON": "none"})
    assert [augmented for _, augmented in asked] == passes
