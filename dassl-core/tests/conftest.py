"""A data set of tiny generated images and a trainer small enough to be run many times."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import Logger, set_random_seed
from PIL import Image
from torch import nn
from torch.nn import functional as F

CLASSES = ("ant", "bee", "cat")


@DATASET_REGISTRY.register(force=True)
class EngineToy(DatasetBase):
    """Reads <ROOT>/<label>_<number>.png: numbers 0-7 train, 8-9 val, 10-12 test."""

    def __init__(self, cfg):
        items = {"train": [], "val": [], "test": []}
        for path in sorted(Path(cfg.DATASET.ROOT).glob("*.png")):
            label, number = map(int, path.stem.split("_"))
            split = "train" if number < 8 else "val" if number < 10 else "test"
            items[split].append(Datum(str(path), label, domain=number % 2, classname=CLASSES[label]))
        train = self.generate_fewshot_dataset(items["train"], num_shots=cfg.DATASET.NUM_SHOTS)
        unlabelled = items["train"][:6] if cfg.DATASET.ALL_AS_UNLABELED else None
        super().__init__(train_x=train, train_u=unlabelled, val=items["val"], test=items["test"])


class Linear(nn.Module):
    """A linear classifier behind dropout, so that training draws random numbers in the model too."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.layer = nn.Linear(3 * 8 * 8, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(F.dropout(x.flatten(1), 0.3, self.training))


@TRAINER_REGISTRY.register(force=True)
class EngineToyTrainer(TrainerX):
    """Cross entropy on `Linear`; keeps what it logged in `history`."""

    def build_model(self):
        self.history = []
        self.model = Linear(self.num_classes).to(self.device)
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("classifier", self.model, self.optim, self.sched)

    def forward_backward(self, batch):
        image, label, _ = self.parse_batch_train(batch)
        output = self.model(image)
        loss = F.cross_entropy(output, label)
        self.model_backward_and_update(loss)
        summary = {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}
        self.history.append((self.epoch, self.batch_idx, summary["loss"], self.get_current_lr()))
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return summary


@pytest.fixture(scope="session")
def image_root(tmp_path_factory) -> Path:
    """A folder with 13 images of 12 x 12 pixels for each of 3 classes that differ in brightness."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for label in range(3):
        for number in range(13):
            pixels = rng.integers(0, 120, (12, 12, 3)) + 60 * label
            Image.fromarray(pixels.astype("uint8")).save(root / f"{label}_{number}.png")
    return root


@pytest.fixture
def cfg(image_root, tmp_path):
    """A configuration of the toy trainer on the toy data: 3 epochs of 3 batches."""
    c = get_cfg_default()
    c.OUTPUT_DIR = str(tmp_path / "run")
    c.SEED = 1
    c.DATASET.ROOT, c.DATASET.NAME, c.DATASET.NUM_SHOTS = str(image_root), "EngineToy", 4
    c.TRAINER.NAME = "EngineToyTrainer"
    c.INPUT.SIZE = (8, 8)
    c.INPUT.TRANSFORMS = ("random_resized_crop", "random_flip", "normalize")
    c.DATALOADER.NUM_WORKERS = 0
    c.DATALOADER.TRAIN_X.BATCH_SIZE = 4
    c.DATALOADER.TEST.BATCH_SIZE = 5
    c.OPTIM.NAME, c.OPTIM.LR, c.OPTIM.MAX_EPOCH = "sgd", 0.01, 3
    c.OPTIM.LR_SCHEDULER, c.OPTIM.WARMUP_EPOCH, c.OPTIM.WARMUP_TYPE = "cosine", 1, "constant"
    return c


@pytest.fixture
def items(image_root) -> list[Datum]:
    """The 39 images as items, ordered by path."""
    paths = sorted(image_root.glob("*.png"))
    return [Datum(str(p), int(p.stem[0]), int(p.stem[2:]) % 2, CLASSES[int(p.stem[0])]) for p in paths]


@pytest.fixture(autouse=True)
def fresh_stdout_and_seed():
    """Seed every test, and take a logger that a test set up off standard output again."""
    set_random_seed(0)
    yield
    while isinstance(sys.stdout, Logger):
        sys.stdout.close()
        sys.stdout = sys.stdout.console
