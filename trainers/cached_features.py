"""Features of a run's images, made once by the frozen towers: what methods train on that change neither tower."""

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from dassl.data.data_manager import build_data_loader
from dassl.data.transforms import build_transform
from torch import Tensor

SPLITS = ("val", "test", "none")


class Labelled(NamedTuple):
    """Raw image features (N, D), single precision, and labels (N,)."""

    features: Tensor
    labels: Tensor


class CachedFeatures:
    """Features of the training images, pass after pass, and of the split that something is chosen on.

    Args:
        trainer: whose towers and data they are.

    Attributes:
        text: (K, D) text features of the run's classes.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.text = trainer.learner.text_features(trainer.clip, trainer.classes).float()
        self.seconds = 0.0

    def train(self, views: int) -> Iterator[Labelled]:
        """Every training image once per pass, in `views` passes of freshly augmented images; with 0 one pass of the
        test-time view."""
        for _ in range(max(views, 1)):
            yield self._made(self.trainer.feature_loader("train", views > 0))

    def of(self, split: str) -> Labelled:
        """The images of "val" or "test" in their test-time view.

        Raises:
            ValueError: the data set has no validation images.
        """
        loader = self.trainer.feature_loader(split, False)
        if loader is None:
            raise ValueError(f"{self.trainer.cfg.DATASET.NAME} has no {split} images to choose on; set SELECT_ON none.")
        return self._made(loader)

    @torch.no_grad()
    def _made(self, loader: Iterable[dict]) -> Labelled:
        began, found, labels = time.perf_counter(), [], []
        for batch in loader:
            with self.trainer._autocast():
                found.append(self.trainer.clip.encode_image(batch["img"].to(self.trainer.device)).features.float())
            labels.append(batch["label"].to(self.trainer.device))
        self.seconds += time.perf_counter() - began
        features = torch.cat(found)
        if not features.isfinite().all():
            raise FloatingPointError("The features of some images are infinite or NaN: use PREC fp32.")
        return Labelled(features, torch.cat(labels))


class FeatureLoader:
    """A training loader of features in place of images: one view an epoch, in a new order.

    Args:
        views: the same images' features, view by view.
        batch: of a step; as with Dassl's loader, a smaller last one is left out unless it is the only one.

    Attributes:
        epoch: which one is next.
    """

    def __init__(self, views: list[Labelled], batch: int) -> None:
        self.views, self.batch, self.epoch = views, batch, 0

    def __len__(self) -> int:
        return max(1, len(self.views[0].labels) // self.batch)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        view = self.views[self.epoch % len(self.views)]
        order = torch.randperm(len(view.labels)).to(view.labels.device)
        for places in order.split(self.batch)[: len(self)]:
            yield {"img": view.features[places], "label": view.labels[places]}


def feature_loader(trainer: Any, split: str, augmented: bool) -> Iterable[dict] | None:
    """All images of a split in order, none left out; augmented as for training or in the test-time view."""
    if split != "train":
        return trainer.val_loader if split == "val" else trainer.test_loader
    cfg = trainer.cfg
    loader = build_data_loader(
        cfg,
        data_source=trainer.dm.dataset.train_x,
        batch_size=cfg.DATALOADER.TEST.BATCH_SIZE,
        tfm=build_transform(cfg, is_train=augmented),
        is_train=False,
    )
    if augmented:  # an evaluation's workers begin with the same random numbers each time, which would be the same views
        loader.generator.manual_seed(int(torch.empty((), dtype=torch.int64).random_()))
    return loader


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Per cent of the images (B, K) whose best class is right."""
    return 100 * (logits.argmax(1) == labels).double().mean().item()
