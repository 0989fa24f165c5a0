"""The loss scale: what it is for, how it moves, what it is saved as."""

import pytest
import torch
from behaviour import build, data

from trainers.loss_scale import GROWS_AFTER, SMALLEST, START, LossScale
from trainers.trainer import PromptTrainer


def gradients(trainer: PromptTrainer) -> torch.Tensor:
    """Of one step, all in one."""
    batch = data()[0][0]
    trainer.set_model_mode("train")
    trainer.gradients(batch["img"], batch["label"])
    return torch.cat([one.grad.flatten() for one in trainer.learner.parameters()])


def test_small_gradients_survive_half_precision(weights, tmp_path, anywhere):
    """A loss of a thousandth, as the shift of 500 classes is one to each of them."""
    found = {}
    for precision in ("fp32", "fp16"):
        trainer = build(("MaPLe", "MaPLe", {}), weights, tmp_path / precision, extra=["TRAINER.MAPLE.PREC", precision])
        loss = trainer.learner.losses["ce"]
        trainer.learner.losses["ce"] = loss._replace(weight=1e-4)
        found[precision] = gradients(trainer)
    trainer.scaler._set(1.0)
    without = gradients(trainer)
    expected = found["fp32"]
    errors = [((one - expected).norm() / expected.norm()).item() for one in (found["fp16"], without)]
    assert errors[0] < 0.005 and errors[1] > 0.05, errors


def test_it_is_halved_by_an_overflow_and_doubled_after_a_while():
    scale = LossScale.of("amp", "cpu")
    scale.update(False)
    assert scale.value == scale.tensor.item() == START / 2
    for _ in range(GROWS_AFTER - 1):
        scale.update(True)
    assert scale.value == START / 2
    scale.update(True)
    assert scale.value == START
    fixed = LossScale.of("fp16", "cpu")
    for _ in range(2 * GROWS_AFTER):
        fixed.update(True)
    assert fixed.value == START  # enough for fp16, which may overflow in what it keeps for the backward pass
    assert LossScale.of("bf16", "cpu") is None


def test_what_never_fits_is_an_error():
    scale = LossScale.of("fp16", "cpu")
    with pytest.raises(FloatingPointError, match="at every loss scale"):
        for _ in range(40):
            scale.update(False)
    assert scale.value == SMALLEST


def test_it_resumes_from_its_own_and_from_a_scalers_checkpoints():
    scale = LossScale.of("amp", "cpu")
    scale.update(False)
    scale.update(True)
    again = LossScale.of("amp", "cpu")
    again.load_state_dict(scale.state_dict())
    assert (again.value, again.clean) == (START / 2, 1)
    theirs = torch.amp.GradScaler("cpu", init_scale=256.0)
    theirs.scale(torch.ones(1))
    again.load_state_dict(theirs.state_dict())
    assert (again.value, again.tensor.item()) == (256.0, 256.0)
    again.load_state_dict({})
    assert again.value == 256.0


def test_a_step_that_overflows_is_left_out_and_said(weights, tmp_path, anywhere, capsys):
    trainer = build(("MaPLe", "MaPLe", {}), weights, tmp_path, extra=["TRAINER.MAPLE.PREC", "fp16"])
    trainer.epoch, trainer.batch_idx, trainer.num_batches = 0, 0, 9
    trainer.set_model_mode("train")
    trainer.scaler._set(2.0**30)
    before = {name: one.detach().clone() for name, one in trainer.learner.named_parameters()}
    capsys.readouterr()
    trainer.forward_backward(data()[0][0])
    assert all(torch.equal(before[name], one) for name, one in trainer.learner.named_parameters())
    assert "Gradients overflowed at loss scale 1.07374e+09: no step" in capsys.readouterr().out
    trainer.scaler._set(START)
    trainer.forward_backward(data()[0][0])
    assert not all(torch.equal(before[name], one) for name, one in trainer.learner.named_parameters())
