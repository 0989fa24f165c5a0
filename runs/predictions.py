"""What a model said of every test image: `predictions.csv`, and the figures a class that come of it."""

import csv
import io
import os

from torch import Tensor

from datasets.base import EMBEDDED

COLUMNS = ("path", "label", "prediction", "true_probability", "top5")


class Predictions:
    """Rows of one evaluation, in the order of the images.

    Args:
        root: cfg.DATASET.ROOT, below which paths are given; "" stands for the data sets that come with the code.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(os.path.expanduser(root)) if root else str(EMBEDDED)
        self.paths: list[str] = []
        self.labels: list[int] = []
        self.top: list[list[int]] = []
        self.true: list[float] = []

    def add(self, paths: list[str], scores: Tensor, labels: Tensor) -> None:
        """Take in a batch: logits (B, K) and labels (B,). Of equal scores the first class wins, as in the evaluator."""
        scores = scores.float()
        self.paths += [relative(path, self.root) for path in paths]
        self.labels += labels.tolist()
        self.top += scores.argsort(dim=1, descending=True, stable=True)[:, :5].tolist()
        self.true += scores.softmax(1).gather(1, labels[:, None]).squeeze(1).tolist()

    def correct(self) -> int:
        """Number of images whose first class is the true one."""
        return sum(top[0] == label for label, top in zip(self.labels, self.top, strict=True))

    def per_class_accuracy(self, classes: int) -> list[float | None]:
        """Percent correct of each label from 0 on; None where it has no image."""
        total, correct = [0] * classes, [0] * classes
        for label, top in zip(self.labels, self.top, strict=True):
            total[label] += 1
            correct[label] += top[0] == label
        return [100 * c / t if t else None for c, t in zip(correct, total, strict=True)]

    def mean_true_probability(self) -> float | None:
        """Mean over images of the probability that the model gives the true class."""
        return sum(self.true) / len(self.true) if self.true else None

    def text(self) -> str:
        """The rows as CSV, below a line of `COLUMNS`."""
        sheet = io.StringIO()
        writer = csv.writer(sheet, lineterminator="\n")
        writer.writerow(COLUMNS)
        for path, label, top, true in zip(self.paths, self.labels, self.top, self.true, strict=True):
            writer.writerow([path, label, top[0], f"{true:.6g}", " ".join(map(str, top))])
        return sheet.getvalue()


def relative(path: str, root: str) -> str:
    """`path` below `root`, with slashes; as it is where it lies elsewhere. Bytes that are no UTF-8 become "?"."""
    full = os.path.abspath(path)
    if full.startswith(os.path.join(root, "")):
        path = os.path.relpath(full, root).replace(os.sep, "/")
    return path.encode(errors="replace").decode()
