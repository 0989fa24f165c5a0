"""Epochs of a number of steps: which images they see, and that a resumed training sees the same."""

import pytest
import torch
from behaviour import build, same, state_of
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from trainers.stepped import SteppedBatches, begin_epoch, stepped, steps_per_epoch
from trainers.trainer import PromptTrainer


class Numbered(Dataset):
    """Images whose pixels say their number."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        generator = torch.Generator().manual_seed(number)
        return {"img": torch.randn(3, 32, 32, generator=generator), "label": number % 6, "number": number}


@given(
    images=st.integers(1, 40),
    batch=st.integers(1, 9),
    steps=st.integers(1, 12),
    stage=st.integers(0, 5),
    seed=st.integers(0, 9),
)
def test_passes_go_on_from_epoch_to_epoch(images, batch, steps, stage, seed):
    sampler = SteppedBatches(images, batch, steps, [stage] if stage else [], seed)
    seen = {0: [], stage: []}
    for epoch in range(8):
        sampler.epoch = epoch
        epochs = list(sampler)
        assert len(epochs) == len(sampler) == steps and epochs == list(sampler)  # an epoch again is the same
        seen[0 if epoch < stage or not stage else stage] += epochs
    for batches in seen.values():  # of a stage: whole passes, each with its short last batch, one behind the other
        per_pass = -(-images // batch)
        for start in range(0, len(batches) - per_pass + 1, per_pass):
            whole = batches[start : start + per_pass]
            assert sorted(sum(whole, [])) == list(range(images)) and all(len(one) == batch for one in whole[:-1])


def test_another_seed_and_another_pass_are_another_order():
    orders = {tuple(sum(SteppedBatches(50, 50, 3, [], seed), [])) for seed in range(3)}
    assert len(orders) == 3
    one = next(iter(orders))
    assert len({one[:50], one[50:100], one[100:]}) == 3


def configured(per_shot, shots, epochs, weights, folder, **others):
    extra = ["OPTIM.STEPS_PER_SHOT", per_shot, "DATASET.NUM_SHOTS", shots]
    return build(("MaPLe", "MaPLe", {}), weights, folder, epochs=epochs, extra=extra, **others).cfg


def test_steps_of_an_epoch(weights, tmp_path):
    assert steps_per_epoch(configured(0, 16, 3, weights, tmp_path)) == 0
    assert steps_per_epoch(configured(500, 16, 100, weights, tmp_path)) == 80
    with pytest.raises(ValueError, match="8,000 steps, which OPTIM.MAX_EPOCH 3 does not divide; set MAX_EPOCH 2"):
        configured(500, 16, 3, weights, tmp_path)
    with pytest.raises(ValueError, match="is a number of steps, or 0"):
        configured(-1, 16, 4, weights, tmp_path)
    with pytest.raises(ValueError, match="NUM_SHOTS, which is -1 .all images."):
        steps_per_epoch(configured(500, -1, 4, weights, tmp_path))


@pytest.fixture
def on_numbered(monkeypatch):
    """Trainers whose training images are Numbered."""
    original = PromptTrainer.build_model

    def build_model(self):
        self.train_loader_x = DataLoader(Numbered(7), batch_size=4, shuffle=True, drop_last=True)
        original(self)

    monkeypatch.setattr(PromptTrainer, "build_model", build_model)


@pytest.mark.parametrize("method", ["CLIP_LoRA", "TwoStage"])
def test_a_resumed_training_sees_the_same_images(method, weights, tmp_path, on_numbered):
    """Three steps an epoch of passes of two batches; 2SFS's second stage begins with a fresh one."""
    extra = ["OPTIM.STEPS_PER_SHOT", 3, "DATASET.NUM_SHOTS", 5, "TRAIN.CHECKPOINT_FREQ", 1, "SEED", 1]
    extra += ["OPTIM.PER_STEP", True, "OPTIM.WARMUP_EPOCH", -1]

    def made(folder):
        torch.manual_seed(1)
        trainer = build((method, method, {}), weights, tmp_path / folder, epochs=5, extra=extra)
        trainer.seen, trainer.rates, step = [], [], trainer.forward_backward

        def watched(batch):
            trainer.seen.append(batch["number"].tolist())
            trainer.rates.append(trainer.get_current_lr())
            return step(batch)

        trainer.forward_backward = watched
        return trainer

    whole = made("whole")
    whole.train()
    assert [len(batch) for batch in whole.seen][:4] == [4, 3, 4, 3] and len(whole.seen) == 15
    assert len(whole.train_loader_x) == whole.num_batches == 3
    if method == "TwoStage":
        assert sorted(whole.seen[9] + whole.seen[10]) == list(range(7))  # after three epochs of nine steps
        assert whole.rates[9] == whole.rates[0] > whole.rates[8]
    broken = made("broken")

    class Killed(Exception):
        pass

    def after_epoch():
        type(broken).after_epoch(broken)
        if broken.epoch == 2:
            raise Killed

    broken.after_epoch = after_epoch
    with pytest.raises(Killed):
        broken.train()
    resumed = made("broken")
    resumed.train()
    assert resumed.seen == whole.seen[9:] and same(state_of(whole), state_of(resumed))


def test_what_is_no_loader_is_left_alone():
    assert stepped([1, 2], 3, [], 1) == [1, 2]
    begin_epoch([1, 2], 1)


def test_a_step_that_is_left_out_does_not_move_the_cosine(weights, tmp_path, anywhere):
    extra = ["TRAINER.MAPLE.PREC", "fp16", "OPTIM.PER_STEP", True, "OPTIM.WARMUP_EPOCH", -1]
    trainer = build(("MaPLe", "MaPLe", {}), weights, tmp_path, extra=extra)
    trainer.epoch, trainer.batch_idx, trainer.num_batches = 0, 0, 9
    trainer.set_model_mode("train")
    batch, rates = trainer.train_loader_x[0], [trainer.get_current_lr()]
    for scale in (2.0**30, 2.0**10):
        trainer.scaler._set(scale)
        trainer.forward_backward(batch)
        rates.append(trainer.get_current_lr())
    assert rates[0] == rates[1] > rates[2]
