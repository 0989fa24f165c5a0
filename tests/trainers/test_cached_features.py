"""Which images the methods on cached features look at, and how often."""

from functools import partial

import pytest
import recipe
import torch
from behaviour import build, state_of
from dassl.data.datasets import Datum
from PIL import Image
from trainer_factory import NAMES, batches, configuration, make

from promptclip import PromptedCLIP, load_clip
from promptclip.cache import CacheHead
from trainers.cached_features import CachedFeatures, FeatureLoader, Labelled, feature_loader
from trainers.tip_adapter import search_from_here

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


class Shuffled(list):
    """Batches of images in a new order in each epoch, drawn as features' are."""

    def __iter__(self):
        batches = list(super().__iter__())
        images, labels = (torch.cat([batch[key] for batch in batches]) for key in ("img", "label"))
        order = torch.randperm(len(labels))
        return iter([{"img": images[some], "label": labels[some]} for some in order.split(4)])


@pytest.mark.parametrize("views", [0, 1])
@pytest.mark.parametrize("method", ["CLIP_Adapter", "TaskRes"])
def test_steps_on_features_are_steps_on_their_images(method, views, weights, tmp_path, capsys):
    """The same images in the same order, encoded at every step or once."""
    states = []
    for chosen in (-1, views):
        extra = ["DATALOADER.TRAIN_X.BATCH_SIZE", 4]
        trainer = build((method, method, {"VIEWS": chosen}), weights, tmp_path / str(chosen), extra=extra)
        if chosen < 0:
            trainer.train_loader_x = Shuffled(trainer.train_loader_x)
        torch.manual_seed(5)
        trainer.train()
        states.append(state_of(trainer))
    assert f"of {max(views, 1)} views of 8 images" in capsys.readouterr().out
    assert isinstance(trainer.train_loader_x, FeatureLoader) and len(trainer.train_loader_x) == 2
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-6)


def test_an_epoch_sees_one_view():
    views = [Labelled(torch.full((5, 2), float(number)), torch.arange(5)) for number in range(2)]
    loader = FeatureLoader(views, 2)
    assert len(loader) == 2 and len(FeatureLoader(views, 9)) == 1
    for epoch in range(4):
        loader.epoch = epoch
        batches = list(loader)
        assert [len(batch["label"]) for batch in batches] == [2, 2]
        assert {value.item() for batch in batches for value in batch["img"].unique()} == {float(epoch % 2)}


def test_features_serve_no_tower_with_prompts(weights):
    clip = PromptedCLIP(load_clip(weights("tiny4")))
    features = torch.ones(3, 64)
    assert clip.encode_image(features).features is features
    with pytest.raises(ValueError, match="without prompts and changes only"):
        clip.encode_image(features, [torch.zeros(2, 128)])


@pytest.mark.parametrize("workers", [0, 2])
def test_every_view_is_another(workers, weights, tmp_path):
    """With workers too, whose random numbers an evaluation would begin anew each time."""
    colours = torch.rand(6, 48, 48, 3, generator=torch.Generator().manual_seed(0))
    for number, pixels in enumerate(colours):
        Image.fromarray((pixels * 255).byte().numpy()).save(tmp_path / f"{number}.png")
    extra = ["DATALOADER.NUM_WORKERS", workers, "INPUT.TRANSFORMS", ("random_resized_crop", "normalize")]
    trainer = build(("TaskRes", "TaskRes", {"VIEWS": 3}), weights, tmp_path / "run", extra=extra)
    train = [Datum(str(tmp_path / f"{number}.png"), number, classname=NAMES[number]) for number in range(6)]
    trainer.dm.dataset.train_x = train
    seen = []
    for _ in range(2):
        torch.manual_seed(3)
        trainer.feature_loader = partial(feature_loader, trainer)
        seen.append([view.features for view in CachedFeatures(trainer).train(3)])
    assert all(torch.equal(*pair) for pair in zip(*seen, strict=True))  # a seed's
    assert not torch.allclose(seen[0][0], seen[0][1]) and not torch.allclose(seen[0][1], seen[0][2])


def test_the_better_of_epoch_and_pair_is_kept():
    text = torch.eye(2)
    head = CacheHead(2, 2, 2, 0.005, alpha=0.0, beta=1.0)
    head.adapter.weight.data = torch.eye(2).flip(0)  # a cache that is always wrong
    head.labels.copy_(torch.tensor([0, 1]))
    found = Labelled(torch.eye(2), torch.tensor([0, 1]))
    assert search_from_here(head, found, text, (7, 300), keep=True) == 100.0
    assert head.alpha.item() == 0.0 and head.beta.item() == 1.0
    assert search_from_here(head, found, text, (7, 300), keep=False) < 100
    assert head.alpha.item() == pytest.approx(0.1)
