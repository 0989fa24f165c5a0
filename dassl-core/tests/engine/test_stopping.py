"""A run that was asked to stop saves after the step it is in, and resumes from there bit for bit."""

import os

import numpy as np
import pytest
import torch
from dassl.engine import Stopped, build_trainer
from dassl.utils import CheckpointError, load_checkpoint, set_random_seed


def _start(cfg, stop_at=None):
    """Start the run that cfg describes; ask it to stop during step `stop_at` (epoch, batch)."""
    set_random_seed(cfg.SEED)
    trainer = build_trainer(cfg)
    step = trainer.forward_backward

    def watched(batch):
        if (trainer.epoch, trainer.batch_idx) == stop_at:
            trainer.stop_requested = True
        return step(batch)

    trainer.forward_backward = watched
    try:
        trainer.train()
    except Stopped:
        np.random.seed(99)
        torch.manual_seed(99)
    return trainer


def _files(cfg):
    return sorted(os.listdir(os.path.join(cfg.OUTPUT_DIR, "classifier")))


def _lines(text):
    """The epoch lines without times."""
    kept = [line.split() for line in text.splitlines() if line.startswith("epoch [")]
    return [line[:4] + line[line.index("loss") : line.index("eta")] for line in kept]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop_at", [(0, 0), (1, 1), (2, 2), (3, 0)])
def test_stopped_and_resumed_equals_uninterrupted(cfg, stop_at, workers, capsys):
    cfg.OPTIM.NAME, cfg.OPTIM.MAX_EPOCH, cfg.TRAIN.PRINT_FREQ = "adam", 4, 1
    cfg.DATALOADER.NUM_WORKERS = workers
    whole = _start(cfg)
    expected, lines = _files(cfg), _lines(capsys.readouterr().out)
    final = load_checkpoint(os.path.join(cfg.OUTPUT_DIR, "classifier", "model.pth.tar-4"))
    cfg.OUTPUT_DIR += "_stopped"
    first = _start(cfg, stop_at)
    assert first.history[-1][:2] == stop_at
    assert f"model.pth.tar-{stop_at[0]}-batch-{stop_at[1] + 1}" in _files(cfg)
    second = _start(cfg)
    assert first.history + second.history == whole.history
    assert _lines(capsys.readouterr().out) == lines
    assert _files(cfg) == expected  # nothing of the stop is left
    resumed = load_checkpoint(os.path.join(cfg.OUTPUT_DIR, "classifier", "model.pth.tar-4"))
    assert torch.equal(resumed["state_dict"]["layer.weight"], final["state_dict"]["layer.weight"])
    assert torch.equal(resumed["resume"]["rng"]["torch"], final["resume"]["rng"]["torch"])


def test_stopped_twice_in_one_epoch(cfg):
    whole = _start(cfg)
    cfg.OUTPUT_DIR += "_stopped"
    history = [*_start(cfg, (1, 0)).history, *_start(cfg, (1, 1)).history]
    assert [name for name in _files(cfg) if "batch" in name] == ["model.pth.tar-1-batch-2"]
    assert history + _start(cfg).history == whole.history


def test_a_stop_between_two_epochs_saves_the_finished_one(cfg, monkeypatch):
    whole = _start(cfg)
    cfg.OUTPUT_DIR += "_stopped"
    toy = type(whole)
    after_epoch = toy.after_epoch
    monkeypatch.setattr(toy, "after_epoch", lambda self: (after_epoch(self), setattr(self, "stop_requested", True)))
    first = _start(cfg)
    monkeypatch.undo()
    assert _files(cfg) == ["checkpoint", "model.pth.tar-1"]
    assert first.history + _start(cfg).history == whole.history


def test_a_stop_in_the_final_evaluation_leaves_the_finished_training(cfg, monkeypatch):
    monkeypatch.setattr("dassl.engine.SimpleTrainer.model_inference", _stopping)
    trainer = _start(cfg)
    assert trainer.evaluator._total == 0 and "model.pth.tar-3" in _files(cfg)
    monkeypatch.undo()
    assert _start(cfg).history == []


def _stopping(self, images):
    self.stop_requested = True
    raise Stopped


def test_a_changed_training_set_is_no_silent_end_of_the_epoch(cfg):
    _start(cfg, (1, 2))
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE *= 2
    with pytest.raises(CheckpointError, match="stopped after batch 3.*the training set has changed"):
        _start(cfg)


@pytest.mark.parametrize("damage", [{"batches": 1}, {"batches": 1, "start_rng": {}, "meters": {}}, {"meters": 3}, 7])
def test_a_damaged_place_inside_the_epoch(cfg, damage):
    _start(cfg, (1, 1))
    path = os.path.join(cfg.OUTPUT_DIR, "classifier", "model.pth.tar-1-batch-2")
    checkpoint = load_checkpoint(path)
    checkpoint["resume"]["step"] = damage
    torch.save(checkpoint, path)
    with pytest.raises(CheckpointError):
        _start(cfg)
