"""Tip-Adapter, Tip-Adapter-F and LP++ against numbers of their references; they train on features made once."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import recipe
import torch
from golden import close
from torch.nn import functional as F
from trainer_factory import batches, configuration, logits, make

from trainers import lp_plus
from trainers.cached_features import Labelled

GOLDEN = Path(__file__).parents[1] / "golden_2"


def run(file, name, options, weights, folder, epochs=1, test_labels=None, classes=6):
    """(numbers, trainer after training, train and test images)."""
    numbers = np.load(GOLDEN / f"{file}.npz")
    meta = json.loads(str(numbers["meta"]))
    train, test = recipe.images(32)
    opts = [item for key, value in options.items() for item in (key, value)]
    cfg = configuration(name, weights("tiny12"), 32, folder, opts, epochs)
    loader = batches(train, numbers["labels"], 4)
    chosen_on = [] if test_labels is None else batches(test[: len(test_labels)], test_labels, 4)
    trainer = make(cfg, meta["classnames"][:classes], loader, chosen_on)
    views = [loader, batches(recipe.second_view(train), numbers["labels"], 4)]
    passes = iter(views)

    def feature_loader(split, augmented):
        if split != "train":
            return chosen_on
        return next(passes, loader)

    trainer.feature_loader = feature_loader
    torch.manual_seed(0)
    trainer.train()
    return numbers, trainer, train, test


FIXED = {"ALPHA": 1.0, "BETA": 5.5, "VIEWS": 2, "SELECT_ON": "none"}


def node(name, options):
    return {f"TRAINER.{name}.{key}": value for key, value in options.items()}


def test_tip_adapter(weights, tmp_path):
    numbers, trainer, train, test = run("tip_adapter", "TipAdapter", node("TIP_ADAPTER", FIXED), weights, tmp_path)
    head = trainer.learner.head
    assert close(head.adapter.weight, numbers["cache_keys"])
    assert close(F.one_hot(head.labels.long(), 6), numbers["cache_values"])
    assert close(trainer.learner.text_features(trainer.clip, trainer.classes), numbers["text_features"])
    assert close(logits(trainer, train), numbers["init_logits"])
    assert close(logits(trainer, test), numbers["test_logits"])
    trainer.classes = trainer.learner.classes(trainer.clip, ["forest", "river"])
    trainer._text_features = None
    assert head.inference(trainer.classes) == "text alone"
    assert logits(trainer, test).shape == (5, 2)


def test_tip_adapter_f_keeps_the_epoch_that_is_first_best(weights, tmp_path):
    labels = np.load(GOLDEN / "tip_adapter_f.npz")["test_labels"]
    options = FIXED | {"SELECT_ON": "test", "SEARCH": False, "BATCH": 4, "SHUFFLE": False}
    options = node("TIP_ADAPTER_F", options)
    numbers, trainer, _, test = run(
        "tip_adapter_f", "TipAdapter_F", options, weights, tmp_path, epochs=3, test_labels=labels
    )
    keys = trainer.learner.head.adapter.weight.double()
    assert close(keys.norm(), numbers["best_norm/adapter.weight"], 1.5e-6)
    assert close(keys.flatten()[:16], numbers["best_head/adapter.weight"])
    assert close(logits(trainer, test), numbers["test_logits"])
    assert trainer.learner.head.selected_on == "test"


def test_tip_adapter_f_after_the_last_step(weights, tmp_path):
    options = node("TIP_ADAPTER_F", FIXED | {"BATCH": 4, "SHUFFLE": False})
    numbers, trainer, _, test = run("tip_adapter_f", "TipAdapter_F", options, weights, tmp_path, epochs=3)
    keys = trainer.learner.head.adapter.weight.double()
    assert close(keys.norm(), numbers["final_norm/adapter.weight"], 1.5e-6)
    assert close(keys.flatten()[:16], numbers["final_head/adapter.weight"])
    assert close(logits(trainer, test), numbers["epoch_test_logits/2"])


@pytest.fixture
def lp(weights, tmp_path):
    """(numbers, head with the golden bias, training features, text features)."""
    numbers = np.load(GOLDEN / "lp_plus.npz")
    meta = json.loads(str(numbers["meta"]))
    cfg = configuration("LPpp", weights("tiny12"), 32, tmp_path, [])
    train, test = (torch.from_numpy(one) for one in recipe.images(32))
    trainer = make(cfg, meta["classnames"][:4], batches(train.numpy(), numbers["labels"], 4))
    head = trainer.learner.head
    with torch.no_grad():
        head.classifier.bias.copy_(torch.from_numpy(recipe.initial_parameter("classifier.bias", (4,))))
        features = [trainer.clip.encode_image(one).features for one in (train, test)]
    text = trainer.learner.text_features(trainer.clip, trainer.classes)
    assert close(F.normalize(features[0], dim=-1), numbers["train_features"])
    assert close(text, numbers["text_features"])
    return numbers, trainer, features, text


def test_lp_plus(lp):
    numbers, trainer, (train, test), text = lp
    head, labels = trainer.learner.head, torch.from_numpy(numbers["labels"])
    image, normed = F.normalize(train, dim=-1), F.normalize(text, dim=-1)
    sizes = lp_plus.step_sizes(image, labels, normed)
    assert close(sizes[0], numbers["lr_w"]) and close(sizes[1], numbers["lr_alpha"])
    lp_plus.start(head, image, labels, normed)
    assert close(head.classifier.weight.detach(), numbers["init_classifier"])
    assert close(head.alpha.detach(), numbers["init_alpha"])
    assert close(head.logits(image, image @ normed.t()).detach(), numbers["init_logits"])
    setup = SimpleNamespace(options=SimpleNamespace(ITERATIONS=25, CLEAR_GRADIENT=False, SELECT_ON="none"))
    told = lp_plus.descend(head, Labelled(train, labels), text, setup, None)
    assert close([one["loss"] for one in told], numbers["loss/loss"])
    assert close(torch.cat([one["alpha"] for one in told]), numbers["alpha_by_step"])
    assert close(torch.cat([one["grad"] for one in told]), numbers["alpha_grad_by_step"])
    for key, value in (("classifier.weight", head.classifier.weight), ("classifier.bias", head.classifier.bias)):
        assert close(value.detach().double().norm(), numbers[f"final_norm/{key}"], 1.5e-6), key
    assert close(head.alpha.double().norm(), numbers["final_norm/alpha"], 1.5e-6)
    assert close(logits(trainer, recipe.images(32)[1]), numbers["test_logits"])


def test_lp_plus_keeps_the_last_of_the_best_iterations(lp):
    numbers, trainer, (train, test), text = lp
    val = Labelled(test[:4], torch.from_numpy(numbers["val_labels"]))
    setup = SimpleNamespace(options=SimpleNamespace(ITERATIONS=25, CLEAR_GRADIENT=False, SELECT_ON="val"))
    lp_plus.descend(trainer.learner.head, Labelled(train, torch.from_numpy(numbers["labels"])), text, setup, val)
    assert trainer.learner.head.selected_on == "val"
    right = logits(trainer, recipe.images(32)[1]).argmax(1).numpy() == numbers["test_labels"]
    assert close(100 * right.mean(), numbers["reported_test_accuracy"])
