"""What a trainer tells its listeners, and that their sums survive a stop inside an epoch."""

import os

import pytest
import torch
from dassl.engine import Stopped, build_trainer
from dassl.utils import CheckpointError, load_checkpoint, set_random_seed

EVENTS = (
    "epoch_begins",
    "step_ends",
    "epoch_ends",
    "checkpoint_begins",
    "evaluation_begins",
    "batch_evaluated",
    "evaluation_ends",
)


class Heard:
    """Notes every event with its arguments."""

    def __init__(self):
        self.events = []

    def __getattr__(self, event):
        if event not in EVENTS:
            raise AttributeError(event)
        return lambda trainer, *args: self.events.append((event, trainer.epoch, *args))


class Losses:
    """Sums up the losses of an epoch."""

    state_name = "history"

    def __init__(self):
        self.epochs = []

    def epoch_begins(self, trainer):
        self.sum = 0.0

    def step_ends(self, trainer, batches, summary):
        self.sum += summary["loss"]

    def epoch_ends(self, trainer):
        self.epochs.append((trainer.epoch, self.sum))

    def epoch_state(self, trainer):
        return {"sum": self.sum, "epoch": trainer.epoch}

    def load_epoch_state(self, trainer, state):
        assert state["epoch"] == trainer.epoch
        self.sum = float(state["sum"])


def _train(cfg, *listeners, stop_at=None):
    """Train with `listeners`; ask for a stop behind step `stop_at` (epoch, batch)."""
    set_random_seed(cfg.SEED)
    trainer = build_trainer(cfg)

    class Stop:
        def step_ends(self, trainer, batches, summary):
            trainer.stop_requested = (trainer.epoch, trainer.batch_idx) == stop_at

    trainer.listeners += [*listeners, Stop()]
    try:
        trainer.train()
    except Stopped:
        assert stop_at is not None
    return trainer


def test_the_events_of_a_training_in_order(cfg):
    cfg.OPTIM.MAX_EPOCH, cfg.TEST.FINAL_MODEL = 2, "best_val"
    heard = Heard()
    trainer = _train(cfg, heard)
    names = [event[0] for event in heard.events]
    val, test = (
        ["evaluation_begins", *["batch_evaluated"] * n, "evaluation_ends"] for n in (len(trainer.val_loader), 2)
    )
    epoch = ["epoch_begins", *["step_ends"] * 3, "epoch_ends", *val]
    assert names[: len(epoch) + 1] == [*epoch, "checkpoint_begins"]  # the best so far
    assert names[-len(test) :] == test
    assert names.count("epoch_begins") == names.count("epoch_ends") == 2
    assert names[-len(test) - 1] == "checkpoint_begins"


def test_what_the_events_say(cfg):
    cfg.OPTIM.MAX_EPOCH = 1
    heard = Heard()
    trainer = _train(cfg, heard)
    said = {event: args for event, _, *args in heard.events}
    (batch,), summary = said["step_ends"]
    assert len(batch["impath"]) == 4 and summary["loss"] == trainer.history[-1][2]
    assert said["evaluation_begins"] == ["test", trainer.test_loader]
    evaluated = [args for event, _, *args in heard.events if event == "batch_evaluated"]
    hits = sum((scores.argmax(1) == labels).sum().item() for _, scores, labels in evaluated)
    images = [path for batch, _, _ in evaluated for path in batch["impath"]]
    assert images == [item.impath for item in trainer.dm.dataset.test]
    split, results = said["evaluation_ends"]
    assert split == "test" and results["accuracy"] == 100.0 * hits / len(images)


def test_a_listener_hears_only_what_it_has_a_method_for(cfg):
    losses = Losses()
    trainer = _train(cfg, losses, object())
    for epoch, total in losses.epochs:
        assert total == sum(step[2] for step in trainer.history if step[0] == epoch)
    assert len(losses.epochs) == cfg.OPTIM.MAX_EPOCH


def test_checkpoint_begins_may_forbid_the_checkpoint(cfg):
    class Gone:
        def checkpoint_begins(self, trainer):
            raise RuntimeError("the directory is another run's now")

    with pytest.raises(RuntimeError, match="another run's"):
        _train(cfg, Gone())
    assert not os.path.exists(os.path.join(cfg.OUTPUT_DIR, "classifier"))


@pytest.mark.parametrize("stop_at", [(0, 0), (1, 1), (1, 2)])
def test_sums_inside_an_epoch_go_with_the_checkpoint(cfg, stop_at):
    whole = Losses()
    _train(cfg, whole)
    cfg.OUTPUT_DIR += "_stopped"
    first, second = Losses(), Losses()
    _train(cfg, first, stop_at=stop_at)
    saved = _inside_epoch(cfg, stop_at)["resume"]["step"]["meters"]
    assert saved["history"] == {"sum": first.sum, "epoch": stop_at[0]}
    assert set(saved) == {"loss", "acc", "history"}
    _train(cfg, second)
    assert first.epochs + second.epochs == whole.epochs


def test_sums_of_a_listener_that_is_not_there_any_more(cfg):
    whole = _train(cfg)
    cfg.OUTPUT_DIR += "_stopped"
    _train(cfg, Losses(), stop_at=(1, 1))
    resumed = _train(cfg)
    assert torch.equal(resumed.model.layer.weight, whole.model.layer.weight)


def test_a_checkpoint_without_the_sums_of_a_listener(cfg):
    _train(cfg, stop_at=(1, 1))
    losses = Losses()
    trainer = _train(cfg, losses)
    assert losses.epochs[0] == (1, trainer.history[0][2])


@pytest.mark.parametrize("damage", [None, 3, {}, {"epoch": 1}, {"sum": "much", "epoch": 1}])
def test_damaged_sums(cfg, damage):
    _train(cfg, Losses(), stop_at=(1, 1))
    checkpoint = _inside_epoch(cfg, (1, 1))
    checkpoint["resume"]["step"]["meters"]["history"] = damage
    torch.save(checkpoint, os.path.join(cfg.OUTPUT_DIR, "classifier", "model.pth.tar-1-batch-2"))
    with pytest.raises(CheckpointError, match="running averages are damaged"):
        _train(cfg, Losses())


def test_extra_entries_are_in_every_checkpoint(cfg, monkeypatch):
    cfg.OPTIM.MAX_EPOCH, cfg.TRAIN.CHECKPOINT_FREQ, cfg.TEST.FINAL_MODEL = 2, 1, "best_val"
    monkeypatch.setattr(
        "dassl.engine.TrainerBase.checkpoint_extras", lambda self: {"method": "toy", "epoch": 7, "options": {"A": 1}}
    )
    trainer = _train(cfg)
    for name, epoch in (("model.pth.tar-1", 1), ("model.pth.tar-2", 2), ("model-best.pth.tar", None)):
        checkpoint = load_checkpoint(os.path.join(cfg.OUTPUT_DIR, "classifier", name))
        assert (checkpoint["method"], checkpoint["options"]) == ("toy", {"A": 1})
        assert epoch in (None, checkpoint["epoch"])  # the trainer's own entries cannot be replaced
    trainer.load_model(cfg.OUTPUT_DIR)
    assert trainer.resume_model_if_exist(cfg.OUTPUT_DIR) == 2


def _inside_epoch(cfg, stop_at):
    name = f"model.pth.tar-{stop_at[0]}-batch-{stop_at[1] + 1}"
    return load_checkpoint(os.path.join(cfg.OUTPUT_DIR, "classifier", name))
