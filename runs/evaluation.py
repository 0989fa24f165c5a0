"""What the last evaluation of a run found: predictions, features, feature shift, and the figures that come of them."""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from promptclip.common.files import write_atomically
from promptclip.prompts import blocks
from promptclip.shift import TowerStatistics
from runs.open_classes import joint_figures
from runs.predictions import Joint, Predictions

CALIBRATION = ("ece", "adaptive_ece", "mce", "brier", "nll")
FIGURES = (
    *("accuracy", "macro_f1", "total", "correct", "per_class_accuracy", "mean_true_probability"),
    *CALIBRATION,
    *("reliability", "joint"),
    *("feature_shift", "discrepancy", "test_images_per_second", "inference", "selected_on"),
)
AT_ONCE = 32
"""Images of one call of `measure_shift`."""


class Evaluation:
    """Listens to a trainer's evaluations and keeps what the last one on cfg.TEST.SPLIT said. Draws no random number.

    `base_classes` is the number of classes, the first ones, that the model was trained on where it is tested on base
    and new classes together; None in every other evaluation.
    Attributes: `found`, the figures for the record, None before there was an evaluation.
    """

    def __init__(self, trainer: Any, cfg: Any, base_classes: int | None = None) -> None:
        self.trainer, self.cfg, self.base_classes = trainer, cfg, base_classes
        self.found: dict[str, Any] = dict.fromkeys(FIGURES)
        self.predictions: Predictions | None = None
        self.features: FeatureTable | None = None
        self.listening = False
        self.more_epochs = False

    # ---- what the trainer tells ----

    def epoch_begins(self, trainer: Any) -> None:
        """An evaluation before the last epoch is over is none for the record."""
        self.more_epochs = trainer.epoch + 1 < trainer.max_epoch

    def evaluation_begins(self, trainer: Any, split: str, loader: Any) -> None:
        """Start anew if it is the wanted split."""
        self.listening = split == self.cfg.TEST.SPLIT
        if not self.listening:
            return
        self.predictions, self.features = Predictions(self.cfg.DATASET.ROOT), FeatureTable()
        self.joint = None if self.base_classes is None else Joint(self.base_classes, logit_scale(trainer))
        measures = measures_shift(trainer) and not self.more_epochs
        self.sample = frozenset(spread(len(loader.dataset), self.cfg.TEST.SHIFT_IMAGES) if measures else ())
        self.statistics = tower_statistics(trainer) if self.sample else None
        self.waiting: list[Tensor] = []  # images to measure shift on
        self.began, self.aside = time.perf_counter(), 0.0

    def features_made(self, trainer: Any, image: Tensor, text: Tensor) -> None:
        """Keep the features that a batch is classified by, if they were asked for."""
        if self.listening and self.cfg.TEST.SAVE_FEATURES:
            self.features.add(image, text)

    def batch_evaluated(self, trainer: Any, batch: dict[str, Any], scores: Tensor, labels: Tensor) -> None:
        """Keep a batch's predictions, and its share of the images to measure shift on."""
        if not self.listening:
            return
        paths = list(batch["impath"])
        number = len(self.predictions.labels)
        self.predictions.add(paths, scores, labels)
        if self.joint is not None:
            self.joint.add(scores, labels)
        places = [place for place in range(len(paths)) if number + place in self.sample]
        self.waiting += [batch["img"][place].clone() for place in places]  # a view would keep the whole batch
        if len(self.waiting) >= AT_ONCE:
            self.measure()

    def evaluation_ends(self, trainer: Any, split: str, results: dict[str, float]) -> None:
        """Work the figures out."""
        if not self.listening:
            return
        seconds = time.perf_counter() - self.began - self.aside
        self.listening = False
        self.found = {
            "accuracy": float(next(iter(results.values()))),
            "macro_f1": results.get("macro_f1"),
            **self.predictions.figures(trainer.num_classes),
            "joint": None if self.joint is None else joint_figures(self.joint.scores()),
            **self.shift(),
            "test_images_per_second": round(len(self.predictions.labels) / seconds, 3),
            "inference": inference(trainer),
            "selected_on": selected_on(trainer),
        }
        if hasattr(trainer, "epoch") and hasattr(trainer, "write_scalar"):  # of a training: to TensorBoard, too
            for name in ("mean_true_probability", *CALIBRATION):
                if self.found[name] is not None:
                    trainer.write_scalar(f"{split}/{name}", self.found[name], trainer.epoch)

    # ---- shift ----

    def measure(self) -> None:
        """Measure shift on the images that wait for it, outside the time of the evaluation."""
        began = time.perf_counter()
        images, self.waiting = self.waiting, []
        if images:
            measure_shift(self.trainer, images, self.statistics)
        self.aside += time.perf_counter() - began

    def shift(self) -> dict[str, Any]:
        """`feature_shift` and `discrepancy`; None where they were not measured."""
        if not self.sample:
            return {"feature_shift": None, "discrepancy": None}
        self.measure()
        found = self.statistics.summary()
        return {"feature_shift": found, "discrepancy": discrepancy(found)}

    # ---- what came of it ----

    def classnames(self) -> list[str]:
        """Names of the classes in label order."""
        return [str(self.trainer.lab2cname.get(label, label)) for label in range(self.trainer.num_classes)]

    def results(self) -> dict[str, Any]:
        """What the evaluation adds to the record; figures are None if there was none.

        Raises:
            FloatingPointError: the evaluator's figures are no numbers.
        """
        for name in ("accuracy", "macro_f1"):
            if self.found[name] is not None and not math.isfinite(self.found[name]):
                raise FloatingPointError(f"The {name} of the evaluation is {self.found[name]}; no record says so.")
        precision = getattr(self.trainer, "precision_name", None)
        said = {"classnames": self.classnames(), "precision": precision}
        if hasattr(self.trainer, "loaded"):
            said |= {"backbone_sha256": self.trainer.backbone_sha256, "backbone_source": self.trainer.loaded.said}
        return self.found | said

    def write(self, directory: Path) -> None:
        """Write predictions.csv, and features.npz if asked for, to `directory`; nothing if there was no evaluation."""
        if self.predictions is None:
            return
        write_atomically(directory / "predictions.csv", self.predictions.text(self.joint))
        if self.cfg.TEST.SAVE_FEATURES:
            self.features.write(directory / "features.npz", self.predictions.labels, self.classnames())


# ---- what the figures rest on ----


def inference(trainer: Any) -> str:
    """Which inference a method that has several used for the classes of this evaluation; "" where it has one.

    Its head says so, and so does what prepared the class texts where it fell back to others for some names.
    """
    learner = getattr(trainer, "learner", None)
    parts = [getattr(learner, name, None) for name in ("head", "class_texts")]
    asked = [part.inference for part in parts if hasattr(part, "inference")]
    return "; ".join(text for text in (ask(trainer.classes) for ask in asked) if text)


def selected_on(trainer: Any) -> str | None:
    """The split ("val" or "test") that something of the model was chosen by, as its head or learner says."""
    learner = getattr(trainer, "learner", None)
    found = [getattr(part, "selected_on", None) for part in (getattr(learner, "head", None), learner)]
    return next((split for split in found if split), None)


def logit_scale(trainer: Any) -> float | None:
    """What CLIP multiplies cosines with; None where there is no CLIP to ask."""
    model = getattr(getattr(trainer, "clip", None), "model", None)
    return None if model is None else float(model.logit_scale.exp())


# ---- features.npz ----


class FeatureTable:
    """Normalised features of one evaluation. Text features that depend on the image are averaged over the images."""

    def __init__(self) -> None:
        self.images: list[Tensor] = []
        self.text: Tensor | None = None  # (K, D): the features, or their sum over images

    def add(self, image: Tensor, text: Tensor) -> None:
        """Take in a batch's image features (B, D), and text features (K, D) or (B, K, D)."""
        self.images.append(F.normalize(image.float(), dim=-1).half().cpu())
        if text.dim() == 2:
            self.text = text
            return
        total = F.normalize(text.float(), dim=-1).sum(0)
        self.text = total if self.text is None else self.text + total

    def write(self, path: Path, labels: list[int], classnames: list[str]) -> None:
        """Write image_features (N, D), labels (N,), text_features (K, D), classnames (K,); no pickles, in one step.

        Raises ValueError if there are none: the method's `model_inference` tells no `features_made`.
        """
        if self.text is None:
            raise ValueError("The method's model_inference tells no features_made: set TEST.SAVE_FEATURES False.")
        arrays = {
            "image_features": torch.cat(self.images).numpy(),
            "labels": np.asarray(labels, dtype=np.int64),
            "text_features": F.normalize(self.text.float(), dim=-1).half().cpu().numpy(),
            "classnames": np.asarray(classnames, dtype=np.str_),
        }
        write_atomically(path, lambda file: np.savez(file, **arrays))


# ---- feature shift ----


@torch.no_grad()
def measure_shift(trainer: Any, images: list[Tensor], statistics: TowerStatistics) -> None:
    """Add the trained model's shift (RESTORE, Eq. 6) on a few images, each (3, H, W), the first time also on the run's
    classes."""
    batch = torch.stack(images).to(trainer.device)
    text = None if statistics.text.count else trainer.text_shift(batch)
    statistics.add(trainer.image_shift(batch), text)


def tower_statistics(trainer: Any) -> TowerStatistics:
    """Empty statistics for the trainer's towers."""
    return TowerStatistics(*blocks(trainer.clip.model))


def measures_shift(trainer: Any) -> bool:
    """Whether the method learns something, leaves the towers' blocks alone, and can measure what that shifts."""
    alone = getattr(getattr(trainer, "learner", None), "leaves_blocks", True)
    return hasattr(trainer, "image_shift") and bool(trainer.get_model_names()) and alone


def discrepancy(shift: dict[str, dict[str, list[float]]]) -> list[float]:
    """|text - vision| of the mean shift, block by block as far as both towers go (the paper's Fig. 3)."""
    return [abs(t - v) for t, v in zip(shift["text"]["mean"], shift["vision"]["mean"], strict=False)]


def spread(total: int, wanted: int) -> list[int]:
    """`wanted` places (or all, if fewer) evenly over `total`: lists of images are sorted by class."""
    count = min(total, wanted)
    return [place * total // count for place in range(count)]
