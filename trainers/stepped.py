"""Training for a number of steps, whatever the number of images: an epoch is a share of the steps, not a pass.

What CLIP-LoRA's and 2SFS's code does, which counts steps (500 and 300 a shot) and keeps each pass's last, short batch.
Passes go on from one epoch to the next; which images a step sees follows from the seed and the step's number alone, so
that a resumed training goes on as an uninterrupted one.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from yacs.config import CfgNode

from trainers.cached_features import FeatureLoader


def steps_per_epoch(cfg: CfgNode) -> int:
    """How many steps an epoch is of; 0 where it is a pass over the images (OPTIM.STEPS_PER_SHOT 0).

    Raises:
        ValueError: the epochs do not divide the steps; all images are trained on, so that there are no shots.
    """
    per_shot, shots, epochs = cfg.OPTIM.STEPS_PER_SHOT, cfg.DATASET.NUM_SHOTS, cfg.OPTIM.MAX_EPOCH
    if not per_shot:
        return 0
    if per_shot < 0:
        raise ValueError(
            f"OPTIM.STEPS_PER_SHOT is {per_shot}; it is a number of steps, or 0 for passes over the images."
        )
    if shots < 1:
        raise ValueError(
            "OPTIM.STEPS_PER_SHOT counts steps by DATASET.NUM_SHOTS, which is -1 (all images): set NUM_SHOTS, or "
            "STEPS_PER_SHOT 0 and MAX_EPOCH."
        )
    total = per_shot * shots
    if total % epochs:
        near = min((n for n in range(1, total + 1) if total % n == 0), key=lambda n: abs(n - epochs))
        raise ValueError(
            f"OPTIM.STEPS_PER_SHOT {per_shot} times DATASET.NUM_SHOTS {shots} are {total:,} steps, which "
            f"OPTIM.MAX_EPOCH {epochs} does not divide; set MAX_EPOCH {near}."
        )
    return total // epochs


class SteppedBatches(Sampler[list[int]]):
    """The batches of one epoch, `epoch`, out of endless shuffled passes.

    Args:
        images: how many there are.
        batch: images of a step; fewer in a pass's last.
        steps: of an epoch.
        restarts: epochs, counted from 1, after which a fresh pass begins.
        seed: of the shuffling.
    """

    def __init__(self, images: int, batch: int, steps: int, restarts: Sequence[int], seed: int) -> None:
        self.images, self.batch, self.steps, self.seed = images, batch, steps, seed
        self.starts = (0, *restarts)
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        stage = max(start for start in self.starts if start <= self.epoch)
        per_pass = -(-self.images // self.batch)
        shuffled: tuple[int, list[int]] = (-1, [])
        for step in range((self.epoch - stage) * self.steps, (self.epoch - stage + 1) * self.steps):
            number, place = divmod(step, per_pass)
            if shuffled[0] != number:
                shuffled = number, self._order(stage, number).tolist()
            yield shuffled[1][place * self.batch : (place + 1) * self.batch]

    def _order(self, stage: int, number: int) -> Tensor:
        """Of the images, in pass `number` of the stage that begins after epoch `stage`."""
        mixed = ((self.seed * 1_000_003 + stage) * 1_000_003 + number) % 2**63
        return torch.randperm(self.images, generator=torch.Generator().manual_seed(mixed))


def stepped(loader: Any, steps: int, restarts: Sequence[int], seed: int) -> Any:
    """A training loader's images in epochs of `steps`; anything but a DataLoader is returned as it is."""
    if not isinstance(loader, DataLoader):
        return loader
    images, batch = len(loader.dataset), loader.batch_size or 1  # type: ignore[arg-type]  # Dassl's has a length
    seed = seed if seed >= 0 else torch.initial_seed()
    return type(loader)(
        loader.dataset,
        batch_sampler=SteppedBatches(images, batch, steps, restarts, seed),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
        generator=loader.generator,
    )


def begin_epoch(loader: Any, epoch: int) -> None:
    """Have a loader of `stepped`, or of features, give this epoch's batches."""
    for one in (loader, getattr(loader, "batch_sampler", None)):
        if isinstance(one, SteppedBatches | FeatureLoader):
            one.epoch = epoch
