"""The optimiser that the settings ask for."""

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.optim import build_optimizer
from dassl.optim.radam import RAdam
from torch import nn


def _cfg(**settings):
    c = get_cfg_default().OPTIM
    for key, value in settings.items():
        c[key] = value
    return c


@pytest.mark.parametrize(
    ("name", "kind", "extra"),
    [
        ("adam", torch.optim.Adam, {"betas": (0.8, 0.99), "amsgrad": False}),
        ("amsgrad", torch.optim.Adam, {"betas": (0.8, 0.99), "amsgrad": True}),
        ("sgd", torch.optim.SGD, {"momentum": 0.7, "dampening": 0, "nesterov": True}),
        ("rmsprop", torch.optim.RMSprop, {"momentum": 0.7, "alpha": 0.9}),
        ("radam", RAdam, {"betas": (0.8, 0.99), "decoupled_weight_decay": True}),
        ("adamw", torch.optim.AdamW, {"betas": (0.8, 0.99)}),
    ],
)
def test_every_name_with_its_settings(name, kind, extra):
    c = _cfg(NAME=name, LR=0.02, WEIGHT_DECAY=0.03, MOMENTUM=0.7, SGD_NESTEROV=True, RMSPROP_ALPHA=0.9)
    c.ADAM_BETA1, c.ADAM_BETA2 = 0.8, 0.99
    optim = build_optimizer(nn.Linear(2, 2), c)
    assert type(optim) is kind
    (group,) = optim.param_groups
    assert len(group["params"]) == 2
    expected = {"lr": 0.02, "weight_decay": 0.03, **extra}
    assert {key: group[key] for key in expected} == expected


def test_frozen_parameters_of_a_whole_model_are_untouched():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    before = [p.clone() for p in model.parameters()]
    optim = build_optimizer(model, _cfg(NAME="sgd", LR=0.1))
    model(torch.ones(3, 2)).sum().backward()
    optim.step()
    same = [torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert same == [True, True, False, False]


def test_parameters_and_groups_are_taken_as_they_are():
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    assert build_optimizer([a, b], _cfg()).param_groups[0]["params"] == [a, b]
    groups = [{"params": [a], "lr": 0.5}, {"params": [b]}]
    built = build_optimizer(nn.Linear(1, 1), _cfg(LR=0.1), param_groups=groups)
    assert [g["lr"] for g in built.param_groups] == [0.5, 0.1]


def test_staged_learning_rates():
    model = nn.ModuleDict({"backbone": nn.Linear(2, 2), "classifier": nn.Linear(2, 2)})
    c = _cfg(LR=0.1, STAGED_LR=True, NEW_LAYERS=("classifier",), BASE_LR_MULT=0.5)
    slow, fast = build_optimizer(model, c).param_groups
    assert (slow["lr"], fast["lr"]) == (0.05, 0.1)
    assert slow["params"] == list(model["backbone"].parameters())
    assert fast["params"] == list(model["classifier"].parameters())
    c.NEW_LAYERS = "clasifier"
    with pytest.raises(KeyError, match='did you mean "classifier"'):
        build_optimizer(model, c)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(KeyError, match='did you mean "adamw"'):
        build_optimizer(nn.Linear(1, 1), _cfg(NAME="adam_w"))


def test_radam_steps_as_its_definition_says():
    """Algorithm 2 of the paper with decoupled weight decay, in double precision; rectified from the sixth step on."""
    lr, beta1, beta2, eps, decay = 0.1, 0.9, 0.999, 1e-8, 0.05
    parameter = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optim = RAdam([parameter], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=decay)
    expected = parameter.detach().clone()
    m = v = torch.zeros(2, dtype=torch.float64)
    longest = 2 / (1 - beta2) - 1
    rectified = 0
    for t in range(1, 11):
        gradient = torch.tensor([0.3 * t, -1.0 / t], dtype=torch.float64)
        parameter.grad = gradient
        optim.step()
        m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        step = m / (1 - beta1**t)
        if length >= 5:
            r = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            step = step * (r * (1 - beta2**t)) ** 0.5 / (v.sqrt() + eps)
            rectified += 1
        expected = expected * (1 - lr * decay) - lr * step
        assert torch.allclose(parameter, expected, rtol=1e-12, atol=0)
    assert rectified == 5
    with pytest.raises(ValueError, match="degenerated_to_sgd"):
        RAdam([parameter], degenerated_to_sgd=False)
