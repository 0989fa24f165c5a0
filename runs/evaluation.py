"""What the last evaluation of a run found: predictions, features, feature shift, and the figures that come of them."""

import csv
import io
import math
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.base import EMBEDDED
from promptclip.common.files import write_atomically
from promptclip.prompts import blocks
from promptclip.shift import TowerStatistics
from runs.calibration import calibration
from runs.open_classes import JointScores, joint_figures

CALIBRATION = ("ece", "adaptive_ece", "mce", "brier", "nll")
FIGURES = (
    *("accuracy", "macro_f1", "total", "correct", "per_class_accuracy", "mean_true_probability"),
    *CALIBRATION,
    *("reliability", "joint"),
    *("feature_shift", "discrepancy", "test_images_per_second", "inference", "selected_on"),
)
COLUMNS = ("path", "label", "prediction", "true_probability", "top5", "confidence")
JOINT_COLUMNS = ("within_half", "margin", "max_probability", "mcm")
"""What predictions.csv has besides in an evaluation of a base-trained model on base and new classes."""
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
        return self.found | {"classnames": self.classnames(), "precision": precision}

    def write(self, directory: Path) -> None:
        """Write predictions.csv, and features.npz if asked for, to `directory`; nothing if there was no evaluation."""
        if self.predictions is None:
            return
        write_atomically(directory / "predictions.csv", self.predictions.text(self.joint))
        if self.cfg.TEST.SAVE_FEATURES:
            self.features.write(directory / "features.npz", self.predictions.labels, self.classnames())


# ---- predictions.csv ----


class Predictions:
    """What a model said of every test image, in the order of the images.

    Args:
        root: cfg.DATASET.ROOT, below which paths are given; "" stands for the data sets that come with the code.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(os.path.expanduser(root)) if root else str(EMBEDDED)
        self.paths: list[str] = []
        self.labels: list[int] = []
        self.top: list[list[int]] = []
        self.true: list[float] = []
        self.sure: list[tuple[float, float, float]] = []  # confidence, log of the true probability, squared error

    def add(self, paths: list[str], scores: Tensor, labels: Tensor) -> None:
        """Take in a batch: logits (B, K) and labels (B,). Of equal scores the first class wins, as in the evaluator."""
        scores = scores.float()
        self.paths += [relative(path, self.root) for path in paths]
        self.labels += labels.tolist()
        self.top += scores.argsort(dim=1, descending=True, stable=True)[:, :5].tolist()
        probabilities = scores.softmax(1)
        true = probabilities.gather(1, labels[:, None]).squeeze(1)
        self.true += true.tolist()
        log_true = scores.log_softmax(1).gather(1, labels[:, None]).squeeze(1)
        squared = probabilities.square().sum(1) - 2 * true + 1
        self.sure += torch.stack([probabilities.amax(1), log_true, squared], dim=1).tolist()

    def figures(self, classes: int) -> dict[str, Any]:
        """Accuracy of labels 0 to `classes` - 1, and what the probabilities are worth (`runs.calibration`)."""
        right = np.array([top[0] == label for label, top in zip(self.labels, self.top, strict=True)], dtype=bool)
        confidence, log_true, squared = np.array(self.sure, dtype=np.float64).reshape(-1, 3).T
        total, correct = [0] * classes, [0] * classes
        for label, top in zip(self.labels, self.top, strict=True):
            total[label] += 1
            correct[label] += top[0] == label
        return {
            "total": len(self.labels),
            "correct": sum(correct),
            "per_class_accuracy": [100 * c / t if t else None for c, t in zip(correct, total, strict=True)],
            "mean_true_probability": sum(self.true) / len(self.true) if self.true else None,
            **calibration(confidence, right, log_true, squared),
        }

    def text(self, joint: "Joint | None" = None) -> str:
        """The rows as CSV, below a line of `COLUMNS`, with `joint` of `JOINT_COLUMNS` too."""
        sheet = io.StringIO()
        writer = csv.writer(sheet, lineterminator="\n")
        writer.writerow(COLUMNS + (JOINT_COLUMNS if joint else ()))
        more = joint.texts() if joint else [[]] * len(self.paths)
        rows = zip(self.paths, self.labels, self.top, self.true, self.sure, more, strict=True)
        for path, label, top, true, (confidence, *_), rest in rows:
            written = [path, label, top[0], f"{true:.6g}", " ".join(map(str, top)), f"{confidence:.6g}"]
            writer.writerow([*written, *rest])
        return sheet.getvalue()


class Joint:
    """What a base-trained model said of images of base and of new classes, all of them to choose from.

    Args:
        base: number of base classes; their labels come first.
        scale: what the model multiplies cosines with to get scores; None where that is not known.
    """

    def __init__(self, base: int, scale: float | None) -> None:
        self.base, self.scale = base, scale
        self.labels: list[int] = []
        self.tops: list[list[int]] = []  # best label of all, of the base half, of the new half
        self.values: list[list[float]] = []  # margin, max_probability, mcm

    def add(self, scores: Tensor, labels: Tensor) -> None:
        """Take in a batch: logits (B, K) and labels (B,)."""
        scores = scores.float()
        base, new = scores[:, : self.base], scores[:, self.base :]
        tops = [first_best(scores), first_best(base), self.base + first_best(new)]
        flat = base / (self.scale or 1.0)
        values = [base.amax(1) - new.amax(1), base.softmax(1).amax(1), flat.softmax(1).amax(1)]
        self.labels += labels.tolist()
        self.tops += torch.stack(tops, dim=1).tolist()
        self.values += torch.stack(values, dim=1).tolist()

    def scores(self) -> JointScores:
        """All images' scores."""
        labels, tops = np.array(self.labels), np.array(self.tops).reshape(-1, 3)
        margin, probability, mcm = np.array(self.values, dtype=np.float64).reshape(-1, 3).T
        is_base = labels < self.base
        within = np.where(is_base, tops[:, 1], tops[:, 2]) == labels
        return JointScores(
            is_base, tops[:, 0] == labels, within, margin, probability, None if self.scale is None else mcm
        )

    def texts(self) -> list[list[str]]:
        """A row of `JOINT_COLUMNS` for each image."""
        rows = []
        for label, (_, base, new), values in zip(self.labels, self.tops, self.values, strict=True):
            written = [f"{value:.6g}" for value in values]
            rows.append([str(base if label < self.base else new), *written[:2], written[2] if self.scale else ""])
        return rows


def first_best(scores: Tensor) -> Tensor:
    """(B,) place of the highest of scores (B, K), of equal ones the first."""
    places = torch.arange(scores.shape[1], device=scores.device)
    return torch.where(scores == scores.amax(1, keepdim=True), places, scores.shape[1]).amin(1)


def relative(path: str, root: str) -> str:
    """`path` below `root`, with slashes; as it is where it lies elsewhere. What is no text of one line becomes "?".

    One that a spreadsheet would take for a formula ("=HYPERLINK(1)/x.png") gets "./" in front: the same file.
    """
    full = os.path.abspath(path)
    if full.startswith(os.path.join(root, "")):
        path = os.path.relpath(full, root).replace(os.sep, "/")
    path = re.sub(r"[\r\n]", "?", path).encode(errors="replace").decode()
    return f"./{path}" if path.startswith(("=", "+", "-", "@", "\t")) else path


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
    """Whether the method learns something, and has the means to measure what that shifts."""
    return hasattr(trainer, "image_shift") and bool(trainer.get_model_names())


def discrepancy(shift: dict[str, dict[str, list[float]]]) -> list[float]:
    """|text - vision| of the mean shift, block by block as far as both towers go (the paper's Fig. 3)."""
    return [abs(t - v) for t, v in zip(shift["text"]["mean"], shift["vision"]["mean"], strict=False)]


def spread(total: int, wanted: int) -> list[int]:
    """`wanted` places (or all, if fewer) evenly over `total`: lists of images are sorted by class."""
    count = min(total, wanted)
    return [place * total // count for place in range(count)]
