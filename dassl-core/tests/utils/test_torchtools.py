"""Initialising, freezing and scheduling by hand."""

import pytest
import torch
from dassl.utils.torchtools import (
    adjust_learning_rate,
    init_network_weights,
    open_all_layers,
    open_specified_layers,
    set_bn_to_eval,
)
from torch import nn


def _net():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 4))


@pytest.mark.parametrize("kind", ["normal", "xavier", "kaiming", "orthogonal"])
def test_weights_are_drawn_anew(kind):
    net = _net()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(7.0)
    init_network_weights(net, kind, gain=0.02)
    assert net[0].weight.std() > 0 and net[3].weight.std() > 0 and net[3].weight.abs().max() < 7
    assert (net[0].bias == 0).all() and (net[3].bias == 0).all()
    assert (net[1].weight == 1).all() and (net[1].bias == 0).all()
    with pytest.raises(KeyError, match='did you mean "normal"'):
        init_network_weights(net, "norml")


def test_layers_are_opened_and_closed():
    net = nn.ModuleDict({"backbone": nn.Linear(2, 2), "classifier": nn.Linear(2, 2)})
    open_specified_layers(net, "classifier")
    assert [p.requires_grad for p in net.parameters()] == [False, False, True, True]
    assert (net["backbone"].training, net["classifier"].training) == (False, True)
    with pytest.raises(KeyError, match='did you mean "classifier"'):
        open_specified_layers(net, ["clasifier"])
    open_all_layers(net)
    assert all(p.requires_grad for p in net.parameters()) and net["backbone"].training


def test_batch_norms_alone_are_put_to_evaluation():
    net = _net().train()
    net.apply(set_bn_to_eval)
    assert [module.training for module in net] == [True, False, True, True]


def test_the_learning_rate_by_hand():
    optim = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    adjust_learning_rate(optim, 0.5, epoch=45)
    assert optim.param_groups[0]["lr"] == pytest.approx(0.005)
    adjust_learning_rate(optim, 0.5, epoch=25, linear_decay=True, final_lr=0.1)
    assert optim.param_groups[0]["lr"] == pytest.approx(0.4)
