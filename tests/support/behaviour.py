"""What every prompt-learning trainer must do, as checks that any test can run on any method.

An entry is (label, trainer's registered name, options of its node).
"""

import pytest
import recipe
import torch
from dassl.engine import TRAINER_REGISTRY
from trainer_factory import NAMES, batches, configuration, logits, make

from trainers.trainer import PromptTrainer

RESOLUTION = recipe.GEOMETRIES["tiny4"]["image_resolution"]
SMALL = {"PROMPT_DEPTH": 3, "PROMPT_DEPTH_TEXT": 3, "PROMPT_DEPTH_VISION": 2, "N_CTX": 2}

METHODS = [
    name for name in TRAINER_REGISTRY.registered_names() if issubclass(TRAINER_REGISTRY.get(name), PromptTrainer)
]
# The same method under other options.
ENTRIES = [(name, name, {}) for name in METHODS] + [
    ("CoOp csc", "CoOp", {"CSC": True}),
    ("IVLP + fs", "IVLP", {"FS_WEIGHT": 1.0}),
    ("RESTORE_m released", "RESTORE_m", {"VARIANT": "released"}),
    ("RESTORE_m fixed surgery", "RESTORE_m", {"SURGERY": "fixed", "SHIFT_NORM": "relative"}),
    ("RESTORE_m no surgery", "RESTORE_m", {"SURGERY": "none", "SHIFT_NORM": "fro"}),
    ("RESTORE_p relative", "RESTORE_p", {"SHIFT_NORM": "relative"}),
]


def data(classes=6):
    train, test = recipe.images(RESOLUTION)
    return batches(train, [i % classes for i in range(8)]), torch.from_numpy(test)


def build(entry, weights, folder, names=NAMES, epochs=3, extra=()):
    _, name, options = entry
    method = TRAINER_REGISTRY.get(name).method
    chosen = {key: value for key, value in (SMALL | options).items() if key in method.options}
    opts = [item for key, value in chosen.items() for item in (f"TRAINER.{method.node}.{key}", value)]
    cfg = configuration(name, weights("tiny4"), RESOLUTION, folder, [*opts, *extra], epochs)
    torch.manual_seed(0)
    return make(cfg, names, data(len(names))[0])


def state_of(trainer):
    return {key: value.clone() for key, value in trainer.learner.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def evaluation_gives_logits_and_is_repeatable(entry, weights, tmp_path):
    trainer = build(entry, weights, tmp_path)
    images = data()[1]
    first = logits(trainer, images)
    assert first.shape == (5, 6) and torch.isfinite(first).all()
    assert torch.equal(first, logits(trainer, images))


def training_changes_what_is_learned_and_nothing_else(entry, weights, tmp_path):
    trainer = build(entry, weights, tmp_path)
    frozen = {key: value.clone() for key, value in trainer.backbone.state_dict().items()}
    before = state_of(trainer)
    trainer.train()
    assert same(frozen, trainer.backbone.state_dict())
    assert all(parameter.grad is None for parameter in trainer.backbone.parameters())
    for key in trainer.learner.named_learned():
        assert not torch.equal(before[key], trainer.learner.state_dict()[key]), key
    firsts = {name.split(".")[0] for name in trainer.learner.named_learned()}
    assert firsts <= set(TRAINER_REGISTRY.get(entry[1]).method.learns)


def save_and_load_give_the_same_logits(entry, weights, tmp_path):
    trainer = build(entry, weights, tmp_path)
    trainer.train()
    expected = logits(trainer, data()[1])
    torch.manual_seed(1)
    fresh = build(entry, weights, tmp_path / "other")
    for parameter in fresh.learner.parameters():
        parameter.data.add_(0.1)
    assert not torch.allclose(logits(fresh, data()[1]), expected)
    fresh.load_model(str(tmp_path), epoch=3)
    assert torch.equal(logits(fresh, data()[1]), expected)
    megabytes = (tmp_path / trainer.method.folder / "model.pth.tar-3").stat().st_size / 1e6
    assert megabytes < 3  # the learnable part, not CLIP


def a_base_class_checkpoint_serves_new_classes(entry, weights, tmp_path):
    build(entry, weights, tmp_path).train()
    new = build(entry, weights, tmp_path / "other", names=["forest", "sugar cane field"])
    if entry[2].get("CSC"):
        with pytest.raises(ValueError, match=r"its ctx is \(6, 2, 64\) where this run has \(2, 2, 64\)"):
            new.load_model(str(tmp_path), epoch=3)
        return
    new.load_model(str(tmp_path), epoch=3)
    assert logits(new, data()[1]).shape == (5, 2)


def a_resumed_run_equals_an_uninterrupted_one(entry, weights, tmp_path):
    every = ["TRAIN.CHECKPOINT_FREQ", 1]
    whole = build(entry, weights, tmp_path / "whole", extra=every)
    whole.train()

    class Killed(Exception):
        pass

    broken = build(entry, weights, tmp_path / "broken", extra=every)
    step = broken.forward_backward

    def until_epoch_2(batch):
        if broken.epoch == 2:
            raise Killed
        return step(batch)

    broken.forward_backward = until_epoch_2
    with pytest.raises(Killed):
        broken.train()
    torch.manual_seed(7)
    resumed = build(entry, weights, tmp_path / "broken", extra=every)
    resumed.train()
    assert resumed.start_epoch == 2
    assert same(state_of(whole), state_of(resumed))


def a_loss_that_is_not_finite_is_named(entry, weights, tmp_path):
    trainer = build(entry, weights, tmp_path)
    trainer.train_loader_x[0]["img"].fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"The term .*epoch 1, batch 1"):
        trainer.train()


def weights_that_are_not_finite_are_named(entry, weights, tmp_path):
    trainer = build(entry, weights, tmp_path)
    name, parameter = next(iter(trainer.learner.named_learned().items()))

    class Breaks:
        """Breaks the weights in the very last step, after which no loss is computed any more."""

        def step_ends(self, trainer, batches, summary):
            if (trainer.epoch, trainer.batch_idx) == (trainer.max_epoch - 1, trainer.num_batches - 1):
                parameter.data[0] = float("inf")

    trainer.listeners.append(Breaks())
    with pytest.raises(FloatingPointError, match=f"infinite or NaN after epoch 3: {name}"):
        trainer.train()
    assert not (tmp_path / trainer.method.folder).exists()
    torch.save({"state_dict": trainer.learner.state_dict(), "epoch": 3}, tmp_path / "broken")
    with pytest.raises(ValueError, match=f"infinite or NaN values in .*{name}"):
        trainer._load(tmp_path / "broken")


CHECKS = [
    evaluation_gives_logits_and_is_repeatable,
    training_changes_what_is_learned_and_nothing_else,
    save_and_load_give_the_same_logits,
    a_base_class_checkpoint_serves_new_classes,
    a_resumed_run_equals_an_uninterrupted_one,
    a_loss_that_is_not_finite_is_named,
    weights_that_are_not_finite_are_named,
]
