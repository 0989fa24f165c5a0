"""A run that is interrupted and started again equals one that was not, bit for bit."""

import os
import random

import numpy as np
import pytest
import torch
from dassl.engine import TRAINER_REGISTRY, TrainerBase, build_trainer
from dassl.utils import CheckpointError, load_checkpoint, set_random_seed
from torch import nn


class Killed(BaseException):
    """Stands for the signal."""


def _start(cfg, kill_at=None):
    """Start the run that cfg describes, as a fresh process would; interrupt it before step `kill_at`."""
    set_random_seed(cfg.SEED)
    trainer = build_trainer(cfg)
    step = trainer.forward_backward

    def killable(batch):
        if (trainer.epoch, trainer.batch_idx) == kill_at:
            raise Killed
        return step(batch)

    trainer.forward_backward = killable
    try:
        trainer.train()
    except Killed:
        # Whatever the next process finds in its generators must not matter.
        random.seed(99)
        np.random.seed(99)
        torch.manual_seed(99)
    return trainer


def _same(a, b):
    """Compare two checkpoints' contents exactly."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def _checkpoint(cfg, name):
    return load_checkpoint(os.path.join(cfg.OUTPUT_DIR, "classifier", name))


@pytest.mark.parametrize(
    ("optimiser", "workers", "kill_at"),
    [("sgd", 0, (1, 0)), ("sgd", 0, (3, 1)), ("adam", 0, (1, 2)), ("adam", 0, (4, 0)), ("sgd", 1, (2, 1))],
)
def test_killed_and_resumed_equals_uninterrupted(cfg, optimiser, workers, kill_at):
    cfg.OPTIM.NAME, cfg.OPTIM.MAX_EPOCH, cfg.TRAIN.CHECKPOINT_FREQ = optimiser, 5, 1
    cfg.DATALOADER.NUM_WORKERS = workers
    whole = _start(cfg)
    expected = _checkpoint(cfg, "model.pth.tar-5")
    cfg.OUTPUT_DIR += "_killed"
    first = _start(cfg, kill_at)
    second = _start(cfg)
    assert second.start_epoch == kill_at[0]
    assert _same(_checkpoint(cfg, "model.pth.tar-5"), expected)
    history = [h for h in first.history if h[0] < kill_at[0]] + second.history
    assert history == whole.history
    assert len({h[2] for h in history}) == 15


def test_random_numbers_matter_in_this_test(cfg):
    """The toy's training does depend on the generators, or the test above would show nothing."""
    one = _start(cfg)
    cfg.OUTPUT_DIR += "_2"
    cfg.SEED = 2
    assert _start(cfg).history != one.history


def test_the_best_result_is_remembered(cfg, monkeypatch):
    cfg.TEST.FINAL_MODEL, cfg.OPTIM.MAX_EPOCH, cfg.TRAIN.CHECKPOINT_FREQ = "best_val", 4, 1
    results = {0: 50.0, 1: 70.0, 2: 60.0, 3: 65.0}
    toy = TRAINER_REGISTRY.get("EngineToyTrainer")
    monkeypatch.setattr(toy, "test", lambda self, split=None: results[self.epoch])
    _start(cfg, kill_at=(2, 0))
    second = _start(cfg)
    assert (second.start_epoch, second.best_result) == (2, 70.0)
    assert _checkpoint(cfg, "model-best.pth.tar")["epoch"] == 2


def test_resuming_from_the_best_model_alone(cfg):
    """With best_val and no CHECKPOINT_FREQ the best model is the newest checkpoint there is."""
    cfg.TEST.FINAL_MODEL, cfg.OPTIM.MAX_EPOCH = "best_val", 5
    whole = _start(cfg)
    cfg.OUTPUT_DIR += "_killed"
    _start(cfg, kill_at=(4, 1))
    second = _start(cfg)
    assert 0 < second.start_epoch <= 4
    assert second.history == [h for h in whole.history if h[0] >= second.start_epoch]
    assert torch.equal(second.model.layer.weight, whole.model.layer.weight)


def test_evaluations_after_saving_do_not_shift_the_random_numbers(cfg, monkeypatch):
    toy = TRAINER_REGISTRY.get("EngineToyTrainer")
    after_epoch = toy.after_epoch
    monkeypatch.setattr(toy, "after_epoch", lambda self: (after_epoch(self), self.test()))
    cfg.TRAIN.CHECKPOINT_FREQ = 1
    whole = _start(cfg)
    cfg.OUTPUT_DIR += "_killed"
    _start(cfg, kill_at=(2, 0))
    assert _start(cfg).history == whole.history[6:]


def test_a_finished_run_is_only_evaluated_again(cfg, capsys):
    first = _start(cfg)
    out = capsys.readouterr().out
    again = _start(cfg)
    assert again.history == []
    assert torch.equal(again.model.layer.weight, first.model.layer.weight)
    result = out[out.index("=> result") :].split("Elapsed")[0]
    assert result in capsys.readouterr().out


def test_resume_from_another_folder(cfg):
    cfg.OPTIM.MAX_EPOCH, cfg.TRAIN.CHECKPOINT_FREQ = 4, 1
    whole = _start(cfg)
    first_dir = cfg.OUTPUT_DIR
    cfg.OUTPUT_DIR = first_dir + "_killed"
    _start(cfg, kill_at=(2, 0))
    cfg.RESUME, cfg.OUTPUT_DIR = cfg.OUTPUT_DIR, first_dir + "_new"
    _start(cfg, kill_at=(3, 0))
    assert _start(cfg).history == whole.history[9:]  # from its own progress now, not from RESUME again
    cfg.RESUME, cfg.OUTPUT_DIR = first_dir + "_nowhere", first_dir + "_newer"
    with pytest.raises(CheckpointError, match="which holds no checkpoint of classifier"):
        _start(cfg)


def test_killed_before_the_first_checkpoint_starts_again(cfg, capsys):
    whole = _start(cfg)
    cfg.OUTPUT_DIR += "_killed"
    folder = os.path.join(cfg.OUTPUT_DIR, "classifier")
    os.makedirs(folder)
    with open(os.path.join(folder, ".model.pth.tar.part"), "wb") as f:
        f.write(b"half a checkpoint")
    capsys.readouterr()
    assert _start(cfg).history == whole.history
    assert "No checkpoint found, train from scratch" in capsys.readouterr().out
    assert sorted(os.listdir(folder)) == ["checkpoint", "model.pth.tar-3"]


def test_a_damaged_newest_checkpoint_stops_the_run_with_a_sentence(cfg):
    cfg.TRAIN.CHECKPOINT_FREQ = 1
    _start(cfg, kill_at=(2, 0))
    path = os.path.join(cfg.OUTPUT_DIR, "classifier", "model.pth.tar-2")
    with open(path, "r+b") as f:
        f.truncate(200)
    with pytest.raises(CheckpointError, match="cannot be resumed.*model.pth.tar-2.*older checkpoint"):
        _start(cfg)


def test_a_checkpoint_without_random_numbers_resumes_with_a_note(cfg, capsys):
    cfg.TRAIN.CHECKPOINT_FREQ = 1
    _start(cfg, kill_at=(2, 0))
    path = os.path.join(cfg.OUTPUT_DIR, "classifier", "model.pth.tar-2")
    checkpoint = load_checkpoint(path)
    del checkpoint["resume"]
    torch.save(checkpoint, path)
    second = _start(cfg)
    assert second.start_epoch == 2
    assert "holds no random number state" in capsys.readouterr().out
    assert [h[3] for h in second.history] == [pytest.approx(0.0075)] * 3


def test_the_best_result_is_remembered_without_random_numbers_too(cfg, monkeypatch):
    """Upstream's checkpoints hold none of dassl-core's state; the best model's file tells its result."""
    cfg.TEST.FINAL_MODEL, cfg.OPTIM.MAX_EPOCH, cfg.TRAIN.CHECKPOINT_FREQ = "best_val", 4, 1
    results = {0: 50.0, 1: 70.0, 2: 60.0, 3: 65.0}
    toy = TRAINER_REGISTRY.get("EngineToyTrainer")
    monkeypatch.setattr(toy, "test", lambda self, split=None: results[self.epoch])
    _start(cfg, kill_at=(3, 0))
    for path in (name for name in os.listdir(os.path.join(cfg.OUTPUT_DIR, "classifier")) if name.startswith("model")):
        checkpoint = _checkpoint(cfg, path)
        del checkpoint["resume"]
        torch.save(checkpoint, os.path.join(cfg.OUTPUT_DIR, "classifier", path))
    second = _start(cfg)
    assert (second.start_epoch, second.best_result) == (3, 70.0)
    assert _checkpoint(cfg, "model-best.pth.tar")["epoch"] == 2

    best = os.path.join(cfg.OUTPUT_DIR, "classifier", "model-best.pth.tar")
    torch.save(load_checkpoint(best) | {"val_result": "high"}, best)
    newest = os.path.join(cfg.OUTPUT_DIR, "classifier", "model.pth.tar-4")
    torch.save({key: value for key, value in load_checkpoint(newest).items() if key != "resume"}, newest)
    with pytest.raises(CheckpointError, match='"val_result" of ".*model-best.pth.tar" is no number'):
        _start(cfg)


def test_a_trainer_that_looks_for_no_best_model_resumes_too(tmp_path):
    """TrainerBase has no best_result; TrainerX has."""
    trainer, model = TrainerBase(), nn.Linear(2, 2)
    trainer.register_model("classifier", model, torch.optim.SGD(model.parameters(), lr=0.1))
    os.mkdir(tmp_path / "classifier")
    torch.save({"state_dict": model.state_dict(), "epoch": 1}, tmp_path / "classifier/model.pth.tar-1")
    (tmp_path / "classifier/checkpoint").write_text("model.pth.tar-1")
    assert trainer.resume_model_if_exist(str(tmp_path)) == 1


@TRAINER_REGISTRY.register(force=True)
class EngineToyTwo(TRAINER_REGISTRY.get("EngineToyTrainer")):
    """Registers a second model."""

    def build_model(self):
        super().build_model()
        self.register_model("extra", nn.Linear(1, 1))


def test_two_models_resume_together(cfg, monkeypatch):
    cfg.TRAINER.NAME, cfg.TRAIN.CHECKPOINT_FREQ = "EngineToyTwo", 1
    whole = _start(cfg)
    cfg.OUTPUT_DIR += "_killed"
    _start(cfg, kill_at=(2, 0))
    # Killed after all files were written, but before the second model's was declared the newest.
    with open(os.path.join(cfg.OUTPUT_DIR, "extra", "checkpoint"), "w") as f:
        f.write("model.pth.tar-1\n")
    second = _start(cfg)
    assert second.start_epoch == 2
    assert second.history == whole.history[6:]


def test_two_models_of_different_epochs_are_refused(cfg):
    cfg.TRAINER.NAME, cfg.TRAIN.CHECKPOINT_FREQ = "EngineToyTwo", 1
    _start(cfg, kill_at=(2, 0))
    for name, epoch in (("classifier", 2), ("extra", 1)):
        folder = os.path.join(cfg.OUTPUT_DIR, name)
        os.replace(os.path.join(folder, f"model.pth.tar-{epoch}"), os.path.join(folder, "model-best.pth.tar"))
        with open(os.path.join(folder, "checkpoint"), "w") as f:
            f.write("model-best.pth.tar\n")
    with pytest.raises(CheckpointError, match="different epochs.*'classifier': 2, 'extra': 1"):
        _start(cfg)


@pytest.mark.parametrize("epoch", [10**9, -5, "2", 2.0, True, None, [2], 3, 1])
def test_an_epoch_that_cannot_be_is_not_believed(cfg, epoch):
    cfg.TRAIN.CHECKPOINT_FREQ = 1
    _start(cfg, kill_at=(2, 0))
    path = os.path.join(cfg.OUTPUT_DIR, "classifier", "model.pth.tar-2")
    torch.save(load_checkpoint(path) | {"epoch": epoch}, path)
    with pytest.raises(CheckpointError, match="model.pth.tar-2.*epoch") as caught:
        _start(cfg)
    assert "\n" not in str(caught.value)


def test_more_epochs_than_asked_for_are_no_result_of_this_run(cfg):
    _start(cfg)
    cfg.OPTIM.MAX_EPOCH = 2
    with pytest.raises(CheckpointError, match=r"trained for 3 epochs, more than OPTIM.MAX_EPOCH \(2\)"):
        _start(cfg)


def test_the_gradient_scaler_is_kept(cfg):
    cfg.TRAIN.CHECKPOINT_FREQ = 1
    trainer = build_trainer(cfg)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    trainer.scaler.scale(torch.ones(1))
    trainer.save_model(0, cfg.OUTPUT_DIR)
    new = build_trainer(cfg)
    new.scaler = torch.amp.GradScaler("cpu")
    assert new.resume_model_if_exist(cfg.OUTPUT_DIR) == 1
    assert new.scaler.get_scale() == 256.0


NO_RNG = {"python": [], "numpy": [1]}
NO_STEP = {"batches": 1, "start_rng": NO_RNG, "meters": {}}


@pytest.mark.parametrize(
    "damage",
    [
        *(7, "text", [], torch.zeros(2), {}),
        *({"rng": value} for value in (7, "text", [], torch.zeros(2), NO_RNG)),
        *({"best_result": value} for value in (None, "much", [], torch.zeros(2))),
        *({"step": value} for value in (7, "text", [], torch.zeros(2), {}, NO_STEP, NO_STEP | {"batches": "1"})),
    ],
)
def test_a_damaged_state_to_resume_from_gets_a_sentence(cfg, damage):
    cfg.TRAIN.CHECKPOINT_FREQ = 1
    _start(cfg, kill_at=(2, 0))
    path = os.path.join(cfg.OUTPUT_DIR, "classifier", "model.pth.tar-2")
    checkpoint = load_checkpoint(path)
    whole = isinstance(damage, dict) and damage
    checkpoint["resume"] = checkpoint["resume"] | damage if whole else damage
    torch.save(checkpoint, path)
    with pytest.raises(CheckpointError) as caught:
        _start(cfg)
    assert "\n" not in str(caught.value)
