"""Orders of the items; their lengths are exact, so that the last batch of an epoch is known."""

from collections import Counter

import pytest
import torch
from dassl.data.datasets import Datum
from dassl.data.samplers import SAMPLERS, build_sampler


def _source(pairs):
    return [Datum(str(i), label, domain) for i, (label, domain) in enumerate(pairs)]


MIXED = _source([(i % 5, i % 3) for i in range(40)] + [(0, 0)] * 9)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_is_as_long_as_it_says_and_repeats_with_the_seed(name):
    def order(seed):
        torch.manual_seed(seed)
        return list(build_sampler(name, None, MIXED, batch_size=6, n_domain=2, n_ins=2))

    first = order(1)
    assert len(first) == len(build_sampler(name, None, MIXED, batch_size=6, n_domain=2, n_ins=2)) > 0
    assert set(first) <= set(range(len(MIXED)))
    assert order(1) == first
    assert (order(2) == first) == (name == "SequentialSampler")


def test_random_and_sequential_see_every_item_once():
    assert sorted(build_sampler("RandomSampler", None, MIXED)) == list(range(len(MIXED)))
    assert list(build_sampler("SequentialSampler", None, MIXED)) == list(range(len(MIXED)))


def _batches(sampler, size):
    ids = list(sampler)
    return [[MIXED[i] for i in ids[s : s + size]] for s in range(0, len(ids), size)]


def test_domain_batches_are_shared_out_evenly():
    for _ in range(5):
        batches = _batches(build_sampler("RandomDomainSampler", None, MIXED, batch_size=4, n_domain=2), 4)
        assert all(sorted(Counter(d.domain for d in batch).values()) == [2, 2] for batch in batches)
    # without N_DOMAIN: all three of them, in order for SeqDomainSampler
    batches = _batches(build_sampler("SeqDomainSampler", None, MIXED, batch_size=6), 6)
    assert len(batches) == 13 // 2
    assert all([d.domain for d in batch] == [0, 0, 1, 1, 2, 2] for batch in batches)
    ids = list(build_sampler("RandomDomainSampler", None, MIXED, batch_size=6))
    assert len(set(ids)) == len(ids)


def test_class_batches_have_n_ins_of_each_class():
    sampler = build_sampler("RandomClassSampler", None, MIXED, batch_size=6, n_ins=3)
    batches = _batches(sampler, 6)
    assert all(sorted(Counter(d.label for d in batch).values()) == [3, 3] for batch in batches)
    small = _source([(0, 0), (1, 0), (1, 0), (1, 0)])
    drawn = list(build_sampler("RandomClassSampler", None, small, batch_size=4, n_ins=2))
    assert sorted(small[i].label for i in drawn) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("name", "settings", "hint"),
    [
        ("RandomDomainSampler", {"batch_size": 5, "n_domain": 2}, "cannot be shared out evenly"),
        ("RandomDomainSampler", {"batch_size": 8, "n_domain": 4}, "only 3 domains"),
        ("RandomClassSampler", {"batch_size": 2, "n_ins": 3}, "N_INS must be from 1"),
        ("RandomClassSampler", {"batch_size": 12, "n_ins": 2}, "is 6 classes"),
        ("RandomSample", {}, 'did you mean "RandomSampler"'),
    ],
)
def test_impossible_settings_get_a_sentence(name, settings, hint):
    with pytest.raises(ValueError) as caught:
        build_sampler(name, None, MIXED, **settings)
    assert hint in str(caught.value)
