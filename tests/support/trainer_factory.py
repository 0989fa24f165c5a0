"""Build any registered trainer on a small CLIP and given tensors, without image files."""

from types import SimpleNamespace

import torch
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY, build_trainer

import trainers  # noqa: F401  (registers them)
from trainers.trainer import PromptTrainer

NAMES = ["abyssinian", "american_bulldog", "Annual Crop Land", "boeing 737-200", "2000 AM General Hummer SUV", "tench"]


def configuration(name, backbone, resolution, output_dir, options=(), epochs=3, dataset="OxfordPets"):
    """A frozen configuration as train.py would make it."""
    cfg = get_cfg_default()
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    cfg.MODEL.CUDA_GRAPH = "auto"
    for registered in TRAINER_REGISTRY.registered_names():
        method = TRAINER_REGISTRY.get(registered)
        if hasattr(method, "extend_cfg"):
            method.extend_cfg(cfg)
    cfg.merge_from_list(
        ["TRAINER.NAME", name, "OUTPUT_DIR", str(output_dir), "USE_CUDA", False, "DATASET.NAME", dataset]
        + ["MODEL.BACKBONE.NAME", backbone, "INPUT.SIZE", (resolution, resolution), "TEST.NO_TEST", True]
        + ["OPTIM.NAME", "sgd", "OPTIM.LR", 0.0035, "OPTIM.LR_SCHEDULER", "cosine", "OPTIM.MAX_EPOCH", epochs]
        + ["OPTIM.WARMUP_EPOCH", 1, "OPTIM.WARMUP_TYPE", "constant", "OPTIM.WARMUP_CONS_LR", 1e-5]
    )
    cfg.TRAINER[TRAINER_REGISTRY.get(name).method.node].PREC = "fp32"
    cfg.merge_from_list(list(options))
    cfg.freeze()
    return cfg


def make(cfg, names, train_batches, test_batches=()):
    """The configured trainer over lists of batches {"img", "label"} instead of data loaders."""

    def build_data_loader(self):
        dataset = SimpleNamespace(classnames=list(names), num_classes=len(names))
        self.dm = SimpleNamespace(dataset=dataset)
        self.train_loader_x, self.train_loader_u = list(train_batches), None
        self.val_loader, self.test_loader = None, list(test_batches)
        self.num_classes, self.lab2cname = len(names), dict(enumerate(names))
        self.feature_loader = lambda split, augmented: list(train_batches if split == "train" else test_batches)

    original = PromptTrainer.build_data_loader
    PromptTrainer.build_data_loader = build_data_loader
    try:
        return build_trainer(cfg)
    finally:
        PromptTrainer.build_data_loader = original


def batches(images, labels, size=4):
    """Batches in order."""
    pairs = zip(torch.as_tensor(images).split(size), torch.as_tensor(labels).split(size), strict=True)
    return [{"img": image, "label": label, "impath": [""] * len(label)} for image, label in pairs]


@torch.no_grad()
def logits(trainer, images):
    """Evaluation logits (N, K)."""
    trainer.set_model_mode("eval")
    result = trainer.model_inference(torch.as_tensor(images))
    trainer.set_model_mode("train")
    return result
