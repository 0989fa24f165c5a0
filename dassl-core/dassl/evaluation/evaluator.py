"""Turns a model's outputs over a whole split into the numbers that are reported."""

import os.path as osp
from collections import OrderedDict
from typing import Any

import torch

from dassl.utils import Registry, mkdir_if_missing
from dassl.utils.tools import atomic_write

EVALUATOR_REGISTRY = Registry("EVALUATOR")


def build_evaluator(cfg: Any, **kwargs: Any) -> "EvaluatorBase":
    """Return the evaluator cfg.TEST.EVALUATOR names. Raises UnknownName (a KeyError) with the nearest name."""
    return EVALUATOR_REGISTRY.build(cfg.TEST.EVALUATOR, cfg, verbose=cfg.VERBOSE, **kwargs)


class EvaluatorBase:
    """Collects batches with `process` and sums them up in `evaluate`."""

    def __init__(self, cfg: Any):
        self.cfg = cfg

    def reset(self) -> None:
        """Forget everything collected."""
        raise NotImplementedError

    def process(self, mo: torch.Tensor, gt: torch.Tensor) -> None:
        """Collect a batch: model output `mo` and ground truth `gt`."""
        raise NotImplementedError

    def evaluate(self) -> "OrderedDict[str, float]":
        """Return the metrics by name; the first one is what a trainer's test() returns."""
        raise NotImplementedError


@EVALUATOR_REGISTRY.register()
class Classification(EvaluatorBase):
    """Accuracy, error and macro F1 in per cent; on demand per class, and the confusion matrix."""

    def __init__(self, cfg: Any, lab2cname: dict[int, str] | None = None, **kwargs: Any):
        super().__init__(cfg)
        if cfg.TEST.PER_CLASS_RESULT and lab2cname is None:
            raise ValueError("TEST.PER_CLASS_RESULT needs the class names: pass lab2cname to build_evaluator.")
        self._lab2cname = lab2cname
        self.reset()

    def reset(self) -> None:
        """Forget all predictions."""
        self._correct = 0
        self._total = 0
        self._y_true: list[int] = []
        self._y_pred: list[int] = []

    def process(self, mo: torch.Tensor, gt: torch.Tensor) -> None:
        """Take in scores (B, K) and labels (B); the highest score is the prediction."""
        pred = mo.argmax(dim=1)
        self._correct += int((pred == gt).sum())
        self._total += gt.shape[0]
        self._y_true += gt.tolist()
        self._y_pred += pred.tolist()

    def evaluate(self) -> "OrderedDict[str, float]":
        """Print and return the result. Raises ValueError if nothing was processed."""
        if not self._total:
            raise ValueError("There is nothing to evaluate: the split holds no image.")
        counts = confusion(self._y_true, self._y_pred)
        accuracy = 100.0 * self._correct / self._total
        results = OrderedDict(accuracy=accuracy, error_rate=100.0 - accuracy, macro_f1=100.0 * macro_f1(counts))
        print(
            "=> result\n"
            f"* total: {self._total:,}\n"
            f"* correct: {self._correct:,}\n"
            f"* accuracy: {accuracy:.1f}%\n"
            f"* error: {results['error_rate']:.1f}%\n"
            f"* macro_f1: {results['macro_f1']:.1f}%"
        )
        if self.cfg.TEST.PER_CLASS_RESULT:
            results["perclass_accuracy"] = self._print_classes(counts)
        if self.cfg.TEST.COMPUTE_CMAT:
            self._save_confusion(counts)
        return results

    def _print_classes(self, counts: torch.Tensor) -> float:
        """Print a line for each class that occurs and return the mean of their accuracies, in per cent."""
        print("=> per-class result")
        accuracies = []
        for label in sorted(set(self._y_true)):
            total, correct = int(counts[label].sum()), int(counts[label, label])
            accuracies.append(100.0 * correct / total)
            name = self._lab2cname[label]
            print(f"* class: {label} ({name})\ttotal: {total:,}\tcorrect: {correct:,}\tacc: {accuracies[-1]:.1f}%")
        mean = sum(accuracies) / len(accuracies)
        print(f"* average: {mean:.1f}%")
        return mean

    def _save_confusion(self, counts: torch.Tensor) -> None:
        """Save the rows (true label) of the confusion matrix as shares of their sum."""
        path = osp.join(self.cfg.OUTPUT_DIR, "cmat.pt")
        mkdir_if_missing(self.cfg.OUTPUT_DIR)
        with atomic_write(path) as f:
            torch.save(counts / counts.sum(dim=1, keepdim=True).clamp(min=1), f)
        print(f"Confusion matrix is saved to {path}")


def confusion(y_true: list[int], y_pred: list[int]) -> torch.Tensor:
    """Count, in a float64 matrix, how often a true label (row) was predicted as another (column)."""
    size = max(max(y_true), max(y_pred)) + 1
    cells = torch.tensor(y_true) * size + torch.tensor(y_pred)
    return torch.bincount(cells, minlength=size * size).view(size, size).double()


def macro_f1(counts: torch.Tensor) -> float:
    """Return the mean F1 of the classes that occur as true labels: 2 TP / (2 TP + FP + FN) each."""
    hits = counts.diag()
    occurring = counts.sum(dim=1) > 0
    f1 = 2 * hits / (counts.sum(dim=0) + counts.sum(dim=1)).clamp(min=1)
    return f1[occurring].mean().item()
