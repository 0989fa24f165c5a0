"""What a model said of every test image: the rows of predictions.csv, and the scores that figures are made of."""

import csv
import io
import os
import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.base import EMBEDDED
from runs.calibration import calibration
from runs.open_classes import JointScores

COLUMNS = ("path", "label", "prediction", "true_probability", "top5", "confidence")
JOINT_COLUMNS = ("within_half", "margin", "max_probability", "mcm")
"""What predictions.csv has besides in an evaluation of a base-trained model on base and new classes."""


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
