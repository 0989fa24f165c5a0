"""Learning rates epoch by epoch, uninterrupted and resumed at any epoch."""

import io
import math
import warnings

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler
from torch import nn

# Observed in the reference stack: constant warm-up of one epoch at 1e-5, then cosine.
TABLES = {
    (0.0035, 10): (
        "1.000000e-05 3.500000e-03 3.414349e-03 3.165780e-03 2.778624e-03 "
        "2.290780e-03 1.750000e-03 1.209220e-03 7.213758e-04 3.342203e-04"
    ),
    (0.0035, 5): "1.000000e-05 3.500000e-03 3.165780e-03 2.290780e-03 1.209220e-03",
    (0.002, 10): (
        "1.000000e-05 2.000000e-03 1.951057e-03 1.809017e-03 1.587785e-03 "
        "1.309017e-03 1.000000e-03 6.909830e-04 4.122147e-04 1.909830e-04"
    ),
    (0.0025, 20): (
        "1.000000e-05 2.500000e-03 2.484610e-03 2.438821e-03 2.363758e-03 2.261271e-03 2.133883e-03 1.984732e-03 "
        "1.817488e-03 1.636271e-03 1.445543e-03 1.250000e-03 1.054457e-03 8.637288e-04 6.825119e-04 5.152684e-04 "
        "3.661165e-04 2.387288e-04 1.362418e-04 6.117935e-05"
    ),
}

WARMUPS = {
    "none": {"WARMUP_EPOCH": -1},
    "constant": {"WARMUP_EPOCH": 1, "WARMUP_TYPE": "constant"},
    "constant3": {"WARMUP_EPOCH": 3, "WARMUP_TYPE": "constant"},
    "linear3": {"WARMUP_EPOCH": 3, "WARMUP_TYPE": "linear"},
    "no_recount": {"WARMUP_EPOCH": 2, "WARMUP_TYPE": "constant", "WARMUP_RECOUNT": False},
}
SCHEDULES = {
    "single_step": {"LR_SCHEDULER": "single_step", "STEPSIZE": (4,)},
    "multi_step": {"LR_SCHEDULER": "multi_step", "STEPSIZE": (2, 5), "GAMMA": 0.5},
    "cosine": {"LR_SCHEDULER": "cosine"},
}


def _optim_cfg(**settings):
    c = get_cfg_default().OPTIM
    for key, value in settings.items():
        c[key] = value
    return c


def _build(c):
    optim = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=c.LR, momentum=0.9)
    return optim, build_lr_scheduler(optim, c)


def _epoch(optim, sched):
    """Return the learning rate of one epoch, after one optimiser step, which leads to the next."""
    lr = optim.param_groups[0]["lr"]
    optim.param_groups[0]["params"][0].grad = torch.ones(2)
    optim.step()
    sched.step()
    return lr


@pytest.mark.parametrize(("base", "epochs"), TABLES)
def test_the_field_s_schedule(base, epochs):
    c = _optim_cfg(LR=base, MAX_EPOCH=epochs, **SCHEDULES["cosine"], **WARMUPS["constant"])
    optim, sched = _build(c)
    lrs = [_epoch(optim, sched) for _ in range(epochs)]
    assert [f"{lr:.6e}" for lr in lrs] == TABLES[base, epochs].split()
    exact = [1e-5] + [0.5 * base * (1 + math.cos(math.pi * (e - 1) / epochs)) for e in range(1, epochs)]
    assert lrs == pytest.approx(exact, rel=0, abs=1e-12)


def test_linear_warm_up_ramps_from_its_minimum():
    optim, sched = _build(_optim_cfg(LR=0.4, MAX_EPOCH=8, **SCHEDULES["cosine"], **WARMUPS["linear3"]))
    lrs = [_epoch(optim, sched) for _ in range(5)]
    after = 0.2 * (1 + math.cos(math.pi / 8))
    assert lrs == pytest.approx([1e-5, 0.4 / 3, 0.8 / 3, 0.4, after], abs=1e-12)


def test_without_recount_the_successor_starts_at_the_epoch_it_is_at():
    optim, sched = _build(_optim_cfg(LR=0.1, MAX_EPOCH=9, **SCHEDULES["single_step"], **WARMUPS["no_recount"]))
    lrs = [_epoch(optim, sched) for _ in range(6)]
    # Two epochs of warm-up count towards the step at epoch 4: it comes two epochs after the warm-up.
    assert lrs == pytest.approx([1e-5, 1e-5, 0.1, 0.1, 0.01, 0.01], abs=1e-12)


def test_single_step_without_a_step_size_steps_after_the_last_epoch():
    optim, sched = _build(_optim_cfg(LR=0.1, MAX_EPOCH=3))
    assert [_epoch(optim, sched) for _ in range(4)] == pytest.approx([0.1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("warmup", WARMUPS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_interrupted_anywhere_equals_uninterrupted_exactly(schedule, warmup):
    epochs = 8
    c = _optim_cfg(LR=0.03, MAX_EPOCH=epochs, **SCHEDULES[schedule], **WARMUPS[warmup])
    optim, sched = _build(c)
    whole = [_epoch(optim, sched) for _ in range(epochs)]
    assert len(set(whole)) >= 2
    for stop in range(1, epochs):
        optim, sched = _build(c)
        lrs = [_epoch(optim, sched) for _ in range(stop)]
        file = io.BytesIO()
        torch.save({"optimizer": optim.state_dict(), "scheduler": sched.state_dict()}, file)
        file.seek(0)
        saved = torch.load(file, weights_only=True)
        optim, sched = _build(c)
        optim.load_state_dict(saved["optimizer"])
        sched.load_state_dict(saved["scheduler"])
        assert sched.get_last_lr() == [optim.param_groups[0]["lr"]]
        lrs += [_epoch(optim, sched) for _ in range(stop, epochs)]
        assert lrs == whole


def _leaves(value):
    if isinstance(value, dict):
        for v in value.values():
            yield from _leaves(v)
    elif isinstance(value, list | tuple):
        for v in value:
            yield from _leaves(v)
    else:
        yield value


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_state_is_plain_data(schedule):
    _, sched = _build(_optim_cfg(**SCHEDULES[schedule], **WARMUPS["constant"]))
    assert {type(leaf) for leaf in _leaves(sched.state_dict())} <= {int, float, bool, str, type(None)}


def test_a_state_without_warm_up_is_refused():
    _, plain = _build(_optim_cfg(**SCHEDULES["cosine"]))
    _, warm = _build(_optim_cfg(**SCHEDULES["cosine"], **WARMUPS["constant"]))
    with pytest.raises(ValueError, match="no warm-up"):
        warm.load_state_dict(plain.state_dict())


def test_building_and_stepping_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optim, sched = _build(_optim_cfg(**SCHEDULES["cosine"], **WARMUPS["linear3"]))
        for _ in range(5):
            _epoch(optim, sched)


@pytest.mark.parametrize(
    ("settings", "error", "hint"),
    [
        ({"LR_SCHEDULER": "cosin"}, KeyError, 'did you mean "cosine"'),
        ({"WARMUP_EPOCH": 1, "WARMUP_TYPE": "linea"}, KeyError, 'did you mean "linear"'),
        ({"LR_SCHEDULER": "multi_step", "STEPSIZE": (-1,)}, ValueError, "OPTIM.STEPSIZE"),
        ({"STEPSIZE": (1.5,)}, ValueError, "OPTIM.STEPSIZE"),
    ],
)
def test_wrong_settings_get_a_sentence(settings, error, hint):
    with pytest.raises(error) as caught:
        _build(_optim_cfg(**settings))
    assert hint in str(caught.value)
