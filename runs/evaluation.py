"""What the last evaluation of a run found, taken on the way: `trainer.test` itself returns the accuracy alone."""

import time
from pathlib import Path
from typing import Any

from torch import Tensor

from runs.features import Features
from runs.predictions import Predictions
from runs.record import write_atomically
from runs.shift import AT_ONCE, ShiftMeter, discrepancy, measures_shift, spread

FIGURES = (
    *("accuracy", "macro_f1", "total", "correct", "per_class_accuracy", "mean_true_probability"),
    *("feature_shift", "discrepancy", "test_images_per_second"),
)


class Evaluation:
    """Listens to the evaluations of `trainer` on cfg.TEST.SPLIT and keeps what the last one of them said.

    Training evaluates by itself, and may be Dassl's own: so the trainer's and the evaluator's methods are wrapped.
    Nothing here draws a random number. Raises ValueError if features are asked for that the trainer does not have.
    """

    def __init__(self, trainer: Any, cfg: Any) -> None:
        self.trainer, self.cfg = trainer, cfg
        if cfg.TEST.SAVE_FEATURES and not hasattr(trainer, "test_features"):
            raise ValueError(f"TEST.SAVE_FEATURES is True, but {cfg.TRAINER.NAME} has no features; set it False.")
        self.found = dict.fromkeys(FIGURES)
        self.predictions: Predictions | None = None
        self.features: Features | None = None
        self.listening = False
        self.test, self.parse = trainer.test, trainer.parse_batch_test
        self.process, self.evaluate = trainer.evaluator.process, trainer.evaluator.evaluate
        trainer.test, trainer.parse_batch_test = self.watched_test, self.watched_parse
        trainer.evaluator.process, trainer.evaluator.evaluate = self.watched_process, self.watched_evaluate
        if cfg.TEST.SAVE_FEATURES:
            self.make_features, trainer.test_features = trainer.test_features, self.watched_features

    # ---- in place of the trainer's and the evaluator's own ----

    def watched_test(self, split: str | None = None) -> float:
        """`trainer.test`, the wanted split being listened to."""
        self.listening = split in (None, self.cfg.TEST.SPLIT)
        if not self.listening:
            return self.test(split)
        self.predictions, self.features = Predictions(self.cfg.DATASET.ROOT), Features()
        self.last: dict[str, float] = {}
        self.number, self.aside, self.waiting = 0, 0.0, []
        self.sample = self.shift_sample()
        self.meter = ShiftMeter(self.trainer) if self.sample else None
        began = time.perf_counter()
        accuracy = self.test(split)
        seconds = time.perf_counter() - began - self.aside
        self.listening = False
        rate = round(len(self.predictions.labels) / seconds, 3)
        self.found |= {"accuracy": float(accuracy), **self.figures(), **self.shift(), "test_images_per_second": rate}
        return accuracy

    def watched_parse(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """`trainer.parse_batch_test`; keeps the batch's paths, and its share of the images to measure shift on."""
        if self.listening:
            self.paths = list(batch["impath"])
            places = [place for place in range(len(self.paths)) if self.number + place in self.sample]
            self.waiting += [batch["img"][place].clone() for place in places]  # a view would keep the whole batch
            self.number += len(self.paths)
            if len(self.waiting) >= AT_ONCE:
                self.measure()
        return self.parse(batch)

    def watched_process(self, mo: Tensor, gt: Tensor) -> None:
        """`evaluator.process`."""
        if self.listening:
            self.predictions.add(self.paths, mo, gt)
        self.process(mo, gt)

    def watched_evaluate(self) -> dict[str, float]:
        """`evaluator.evaluate`."""
        results = self.evaluate()
        self.last = dict(results)
        return results

    def watched_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`trainer.test_features`."""
        image, text = self.make_features(images)
        if self.listening:
            self.features.add(image, text)
        return image, text

    # ---- what came of it ----

    def classnames(self) -> list[str]:
        """Names of the classes in label order."""
        return [str(self.trainer.lab2cname.get(label, label)) for label in range(self.trainer.num_classes)]

    def results(self) -> dict[str, Any]:
        """What the evaluation adds to the record; figures are None if there was none."""
        precision = getattr(getattr(self.trainer, "precision", None), "name", None)
        return self.found | {"classnames": self.classnames(), "precision": precision}

    def figures(self) -> dict[str, Any]:
        """The evaluator's figures, and those of the predictions."""
        return {
            "macro_f1": self.last.get("macro_f1"),
            "total": len(self.predictions.labels),
            "correct": self.predictions.correct(),
            "per_class_accuracy": self.predictions.per_class_accuracy(self.trainer.num_classes),
            "mean_true_probability": self.predictions.mean_true_probability(),
        }

    def shift_sample(self) -> frozenset[int]:
        """Numbers of the test images that shift is measured on; none in the evaluations of each epoch."""
        if getattr(self.trainer, "_in_epochs", False) or not measures_shift(self.trainer):
            return frozenset()
        loader = self.trainer.val_loader if self.cfg.TEST.SPLIT == "val" else self.trainer.test_loader
        return frozenset(spread(len(loader.dataset), self.cfg.TEST.SHIFT_IMAGES))

    def measure(self) -> None:
        """Measure shift on the images that wait for it, outside the time of the evaluation."""
        began = time.perf_counter()
        images, self.waiting = self.waiting, []
        if images:
            self.meter.measure(images)
        self.aside += time.perf_counter() - began

    def shift(self) -> dict[str, Any]:
        """`feature_shift` and `discrepancy`; None where they were not measured."""
        if not self.sample:
            return {"feature_shift": None, "discrepancy": None}
        self.measure()
        found = self.meter.summary()
        return {"feature_shift": found, "discrepancy": discrepancy(found)}

    def write(self, directory: Path) -> None:
        """Write predictions.csv, and features.npz if asked for, to `directory`; nothing if there was no evaluation."""
        if self.predictions is None:
            return
        write_atomically(directory / "predictions.csv", self.predictions.text())
        if self.cfg.TEST.SAVE_FEATURES:
            self.features.write(directory / "features.npz", self.predictions.labels, self.classnames())
