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
SMALL |= {"BLOCK": 2, "ADAPTER_START": 2, "ADAPTER_END": 4, "FIRST_LAYER": 3, "REP_DIM": 32}
SMALL |= {"SELECT_ON": "none", "VIEWS": 1, "ITERATIONS": 15}

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
    ("RESTORE_m prompted", "RESTORE_m", {"SHIFT_GRADIENT": "prompted"}),
    ("CLIP_LoRA without dropout", "CLIP_LoRA", {"DROPOUT": 0.0}),
    ("MMA true gradient", "MMA", {"RESCALED_GRADIENT": False, "ADAPTER_SCALE": 0.1}),
    ("CLIP_Adapter on features", "CLIP_Adapter", {"VIEWS": 2}),
    ("TaskRes on features", "TaskRes", {"VIEWS": 0}),
]
FITTED = ("TipAdapter", "TipAdapter_F", "LPpp")
"""Methods that train on features made once, not in steps."""


def data(classes=6):
    train, test = recipe.images(RESOLUTION)
    return batches(train, [i % classes for i in range(8)]), torch.from_numpy(test)


def build(entry, weights, folder, names=NAMES, epochs=3, extra=()):
    _, name, options = entry
    method = TRAINER_REGISTRY.get(name).method
    small = SMALL if name in FITTED else {key: value for key, value in SMALL.items() if key != "VIEWS"}
    chosen = {key: value for key, value in (small | options).items() if key in method.options}
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
    learns = set(TRAINER_REGISTRY.get(entry[1]).method.learns)
    fitted = {key for key in before if key.split(".")[0] in learns} if entry[1] in FITTED else set()
    for key in fitted or trainer.learner.named_learned():
        now = trainer.learner.state_dict()[key]
        assert before[key].shape != now.shape or not torch.equal(before[key], now), key
    firsts = {name.split(".")[0] for name in trainer.learner.named_learned()}
    assert firsts <= learns


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


def a_resumed_run_equals_an_uninterrupted_one(entry, weights, tmp_path, made=build):
    """`made` builds the trainers; returns the resumed one."""
    every = ["TRAIN.CHECKPOINT_FREQ", 1]
    whole = made(entry, weights, tmp_path / "whole", extra=every)
    whole.train()
    if entry[1] in FITTED:  # nothing lies between beginning and end
        again = made(entry, weights, tmp_path / "whole", extra=every)
        again.learner.fit = lambda cached: pytest.fail("a finished training is done again")
        again.train()
        assert same(state_of(whole), state_of(again))
        return again

    class Killed(Exception):
        pass

    broken = made(entry, weights, tmp_path / "broken", extra=every)
    step = broken.forward_backward

    def until_epoch_2(batch):
        if broken.epoch == 2:
            raise Killed
        return step(batch)

    broken.forward_backward = until_epoch_2
    with pytest.raises(Killed):
        broken.train()
    torch.manual_seed(7)
    resumed = made(entry, weights, tmp_path / "broken", extra=every)
    resumed.train()
    assert resumed.start_epoch == 2
    assert same(state_of(whole), state_of(resumed))
    return resumed


def a_loss_that_is_not_finite_is_named(entry, weights, tmp_path):
    trainer = build(entry, weights, tmp_path)
    trainer.train_loader_x[0]["img"].fill_(float("nan"))
    on_features = entry[1] in FITTED or entry[2].get("VIEWS", -1) >= 0
    named = "features of .* images are infinite or NaN" if on_features else r"The term .*epoch 1, batch 1"
    with pytest.raises(FloatingPointError, match=named):
        trainer.train()


def weights_that_are_not_finite_are_named(entry, weights, tmp_path):
    if entry[1] in FITTED:
        return  # their features are looked at instead
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
