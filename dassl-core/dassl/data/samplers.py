"""Orders in which a loader goes through its items. All are of a fixed length and draw from torch's generator."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import RandomSampler, Sampler, SequentialSampler

from dassl.data.datasets.base_dataset import Datum
from dassl.utils import check_availability


def _shuffled(items: Sequence) -> list:
    return [items[i] for i in torch.randperm(len(items)).tolist()]


class RandomDomainSampler(Sampler):
    """Batches of `n_domain` domains (0: all), each with equally many images.

    A round goes through all domains once, in random order; as many rounds as the smallest domain has images for.
    """

    shuffle_domains = True

    def __init__(self, data_source: Sequence[Datum], batch_size: int, n_domain: int = 0):
        self.by_domain: dict[int, list[int]] = defaultdict(list)
        for i, item in enumerate(data_source):
            self.by_domain[item.domain].append(i)
        self.domains = sorted(self.by_domain)
        self.n_domain = n_domain if n_domain > 0 else len(self.domains)
        if self.n_domain > len(self.domains):
            raise ValueError(f"N_DOMAIN is {self.n_domain}, but the training set has only {len(self.domains)} domains.")
        if batch_size % self.n_domain:
            raise ValueError(
                f"BATCH_SIZE {batch_size} cannot be shared out evenly among N_DOMAIN {self.n_domain} domains."
            )
        self.per_domain = batch_size // self.n_domain
        self.rounds = min(len(ids) for ids in self.by_domain.values()) // self.per_domain

    def __iter__(self) -> Iterator[int]:
        left = {domain: _shuffled(ids) for domain, ids in self.by_domain.items()}
        for _ in range(self.rounds):
            order = _shuffled(self.domains) if self.shuffle_domains else self.domains
            for domain in order[: len(order) // self.n_domain * self.n_domain]:
                yield from left[domain][: self.per_domain]
                del left[domain][: self.per_domain]

    def __len__(self) -> int:
        return self.rounds * (len(self.domains) // self.n_domain) * self.n_domain * self.per_domain


class SeqDomainSampler(RandomDomainSampler):
    """Batches of all domains in their order, each with equally many random images."""

    shuffle_domains = False

    def __init__(self, data_source: Sequence[Datum], batch_size: int):
        super().__init__(data_source, batch_size)


class RandomClassSampler(Sampler):
    """Batches of batch_size // n_ins classes with `n_ins` images each; a class with fewer repeats some."""

    def __init__(self, data_source: Sequence[Datum], batch_size: int, n_ins: int):
        if n_ins < 1 or batch_size < n_ins:
            raise ValueError(f"N_INS must be from 1 to BATCH_SIZE ({batch_size}), not {n_ins}.")
        self.by_label: dict[int, list[int]] = defaultdict(list)
        for i, item in enumerate(data_source):
            self.by_label[item.label].append(i)
        self.n_ins = n_ins
        self.n_classes = batch_size // n_ins
        if len(self.by_label) < self.n_classes:
            raise ValueError(
                f"BATCH_SIZE // N_INS is {self.n_classes} classes, but the training set has {len(self.by_label)}."
            )
        # Classes that still have a full group in round 0, 1, …; those beyond whole batches are left out.
        groups = [max(len(ids) // n_ins, 1) for ids in self.by_label.values()]
        per_round = [sum(g > r for g in groups) for r in range(max(groups))]
        self.length = sum(n // self.n_classes * self.n_classes * n_ins for n in per_round)

    def __iter__(self) -> Iterator[int]:
        left = {}
        for label, ids in self.by_label.items():
            ids = _shuffled(ids)
            missing = self.n_ins - len(ids)
            left[label] = ids + [ids[i] for i in torch.randint(len(ids), (max(missing, 0),)).tolist()]
        while True:
            labels = _shuffled([label for label, ids in left.items() if len(ids) >= self.n_ins])
            if len(labels) < self.n_classes:
                return
            keep = len(labels) // self.n_classes * self.n_classes
            for label in labels[:keep]:
                yield from left[label][: self.n_ins]
            # Classes left out of this round lose the group too: the length of an epoch must not depend on chance.
            for label in labels:
                del left[label][: self.n_ins]

    def __len__(self) -> int:
        return self.length


SAMPLERS: dict[str, Callable[[Sequence[Datum], int, int, int], Sampler]] = {
    "RandomSampler": lambda items, batch_size, n_domain, n_ins: RandomSampler(items),
    "SequentialSampler": lambda items, batch_size, n_domain, n_ins: SequentialSampler(items),
    "RandomDomainSampler": lambda items, batch_size, n_domain, n_ins: RandomDomainSampler(items, batch_size, n_domain),
    "SeqDomainSampler": lambda items, batch_size, n_domain, n_ins: SeqDomainSampler(items, batch_size),
    "RandomClassSampler": lambda items, batch_size, n_domain, n_ins: RandomClassSampler(items, batch_size, n_ins),
}


def build_sampler(
    sampler_type: str,
    cfg: Any = None,
    data_source: Sequence[Datum] | None = None,
    batch_size: int = 32,
    n_domain: int = 0,
    n_ins: int = 16,
) -> Sampler:
    """Return the sampler of that name over `data_source`. Raises KeyError with the nearest name if there is none."""
    check_availability(sampler_type, SAMPLERS, "sampler")
    return SAMPLERS[sampler_type](data_source, batch_size, n_domain, n_ins)
