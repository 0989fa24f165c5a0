"""The small operations, held to what their definitions say."""

import math

import dassl.modeling.ops as ops
import pytest
import torch
from dassl.modeling.ops import ReverseGrad, Sequential2, cross_entropy, mixup, utils
from torch import nn


def test_gradients_are_turned_round():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = ReverseGrad()(x, 0.5)
    assert torch.equal(y, x)
    (y * torch.tensor([3.0, 4.0])).sum().backward()
    assert x.grad.tolist() == [-1.5, -2.0]
    with pytest.raises(ValueError, match="must not be negative"):
        ReverseGrad()(x, -1)


def test_cross_entropy_smooths_towards_all_classes():
    logits, labels = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]]), torch.tensor([0, 2])
    log = logits.log_softmax(1)
    expected = [-(0.7 * log[i, label] + 0.1 * log[i].sum()).item() for i, label in enumerate(labels)]
    assert cross_entropy(logits, labels, 0.3, "none").tolist() == pytest.approx(expected)
    assert cross_entropy(logits, labels, 0.3).item() == pytest.approx(sum(expected) / 2)


@pytest.mark.parametrize("preserve_order", [False, True])
def test_mixup_mixes_images_and_labels_alike(preserve_order):
    ones, zeros = torch.ones(64, 3, 2, 2), torch.zeros(64, 3, 2, 2)
    labels = torch.tensor([[1.0, 0.0]]).expand(64, 2)
    images, mixed = mixup(ones, zeros, labels, labels.flip(1), 0.4, preserve_order)
    shares = images[:, 0, 0, 0]
    assert torch.equal(images, shares.view(-1, 1, 1, 1).expand_as(images))
    assert torch.equal(mixed[:, 0], shares) and torch.allclose(mixed.sum(1), torch.ones(64))
    assert len(set(shares.tolist())) > 50
    assert (shares.min() >= 0.5) == preserve_order


def test_a_sequential_of_several_values():
    class Pair(nn.Module):
        def forward(self, a, b=1):
            return a + b, a - b

    assert Sequential2(Pair(), Pair())(3, 2) == (6, 4)


def test_small_functions():
    p = utils.sharpen_prob(torch.tensor([[0.8, 0.2]]))
    assert p.tolist() == [pytest.approx([0.64 / 0.68, 0.04 / 0.68])]
    assert utils.create_onehot(torch.tensor([1, 0]), 3).tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    data, label = torch.arange(9), torch.arange(9) + 10
    assert utils.reverse_index(data, label)[0].tolist() == list(range(8, -1, -1))
    shuffled = utils.shuffle_index(data, label)
    assert torch.equal(shuffled[1], shuffled[0] + 10) and sorted(shuffled[0].tolist()) == list(range(9))
    assert [utils.linear_rampup(n, 4) for n in (-1, 1, 9)] == [0.0, 0.25, 1.0]
    assert utils.sigmoid_rampup(2, 4) == pytest.approx(math.exp(-5 * 0.25))
    with pytest.raises(ValueError, match="above 0"):
        utils.linear_rampup(1, 0)


def test_the_moving_average_of_a_model():
    model, average = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    average.weight.data.fill_(3.0)
    utils.ema_model_update(model, average, 0.75)
    assert average.weight.item() == 2.5


@pytest.mark.parametrize("name", ops.ABSENT)
def test_what_is_not_there_says_so_when_it_is_used(name):
    with pytest.raises(NotImplementedError, match=f"dassl-core has no {name}.*Install upstream Dassl"):
        getattr(ops, name)(0.5, alpha=0.1)


def test_a_name_that_nobody_has():
    with pytest.raises(ImportError):
        from dassl.modeling.ops import MixStile  # noqa: F401
