"""Accuracy of a batch."""

import torch
from dassl.metrics import compute_accuracy

SCORES = torch.tensor([[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
LABELS = torch.tensor([1, 1, 2, 1])


def test_top_one_and_top_two():
    first, second = compute_accuracy(SCORES, LABELS, topk=(1, 2))
    assert (first.item(), second.item()) == (50.0, 100.0)
    assert first.shape == (1,)


def test_a_tuple_counts_by_its_first_part():
    assert compute_accuracy((SCORES, None), LABELS)[0].item() == 50.0
