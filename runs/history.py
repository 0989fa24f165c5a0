"""`history.json`: what each epoch of a training came to. A resumed run continues it, to the same numbers."""

import json
import time
from pathlib import Path
from typing import Any

from dassl.utils import MetricMeter

from promptclip.common.files import read_record_file, write_atomically
from promptclip.shift import FeatureShift
from runs.directory import RunDirectory
from runs.evaluation import AT_ONCE, measure_shift, measures_shift, spread, tower_statistics
from runs.record import finite, is_number

NUMBERS = ("epoch", "seconds", "images_per_second")


class History:
    """Listens to the training of `trainer` and rewrites history.json in the run's directory after each epoch.

    It is written before the epoch's checkpoint: a run killed between the two trains the epoch again, and drops the
    entry. The sums inside an epoch go with a checkpoint there. Nothing here draws a random number.
    """

    state_name = "history"

    def __init__(self, trainer: Any, directory: RunDirectory) -> None:
        self.trainer, self.directory, self.path = trainer, directory, directory.path / "history.json"
        self.entries: list[dict[str, Any]] = []

    # ---- what the trainer tells ----

    def epoch_begins(self, trainer: Any) -> None:
        """Start the sums of the epoch."""
        self.directory.check()
        if not self.entries:
            self.entries = read_history(self.path, trainer.cfg.RESUME)
        self.meters = MetricMeter()
        self.other: set[str] = set()  # names of what is logged besides losses; known once a step was made
        self.shift = tower_statistics(trainer) if measures_shift(trainer) else None
        self.rate, self.images, self.began = trainer.get_current_lr(), 0, time.perf_counter()

    def shift_measured(self, trainer: Any, image: FeatureShift | None, text: FeatureShift | None) -> None:
        """Add a training step's shift."""
        if self.shift is not None:
            self.shift.add(image, text)

    def step_ends(self, trainer: Any, batches: tuple, summary: dict[str, float]) -> None:
        """Add a training step's numbers."""
        self.meters.update(summary)
        self.other = set(getattr(trainer, "shown_besides_losses", ()))
        self.images += len(batches[0]["label"])

    def epoch_ends(self, trainer: Any) -> None:
        """Write the entry of the epoch."""
        seconds = time.perf_counter() - self.began
        means = {name: meter.avg for name, meter in self.meters.meters.items()}
        entry = {
            "epoch": trainer.epoch + 1,
            "seconds": round(seconds, 3),
            "images_per_second": round(self.images / seconds, 3),
            "lr": self.rate,
            "losses": {name: mean for name, mean in means.items() if name not in self.other | {"acc"}},
            "other": {name: mean for name, mean in means.items() if name in self.other},
            "accuracy": means.get("acc"),
            "feature_shift": self.epoch_shift(),
        }
        self.entries = [one for one in self.entries if one["epoch"] <= trainer.epoch] + [entry]
        self.directory.check()
        write_atomically(self.path, json.dumps(finite(self.entries), indent=1) + "\n")
        for tower, shift in (entry["feature_shift"] or {}).items():  # to TensorBoard, where the rest is already
            trainer.write_scalar(f"shift/{tower}", sum(shift["mean"]) / len(shift["mean"]), trainer.epoch)

    def epoch_state(self, trainer: Any) -> dict[str, Any]:
        """The sums so far, as plain numbers."""
        shift = None if self.shift is None else self.shift.state()
        return {"lr": self.rate, "meters": self.meters.state(), "shift": shift, "other": sorted(self.other)}

    def load_epoch_state(self, trainer: Any, state: dict[str, Any]) -> None:
        """Continue from what `epoch_state` returned."""
        self.rate = float(state["lr"])  # behind an epoch's last step the schedule is at the next epoch's
        self.meters.load_state(state["meters"])
        self.other = set(state["other"])
        if self.shift is not None and state["shift"] is not None:
            self.shift.load(state["shift"], trainer.device)

    # ---- shift ----

    def epoch_shift(self) -> dict[str, Any] | None:
        """Shift after the epoch on a few training images, if asked for; else over the steps, if they measure it."""
        if self.shift is None:
            return None
        if self.trainer.cfg.TRAIN.TRACK_SHIFT:
            statistics = tower_statistics(self.trainer)
            measure_shift(self.trainer, self.few_images(), statistics)
            return statistics.summary()
        return self.shift.summary() if self.shift.text.count or self.shift.vision.count else None

    def few_images(self) -> list[Any]:
        """Training images as a test would see them, for which no random number is drawn."""
        source, test = self.trainer.dm.dataset.train_x, self.trainer.test_loader.dataset
        images = type(test)(self.trainer.cfg, source, transform=test.transform, is_train=False)
        return [images[place]["img"] for place in spread(len(source), AT_ONCE)]

    # ---- for the record ----

    def figures(self) -> dict[str, float | None]:
        """`train_seconds` of all epochs and `train_images_per_second` in them; None if nothing was trained."""
        entries = self.entries or read_history(self.path)
        seconds = sum(entry["seconds"] for entry in entries)
        if not seconds:
            return {"train_seconds": None, "train_images_per_second": None}
        images = sum(entry["seconds"] * entry["images_per_second"] for entry in entries)
        return {"train_seconds": round(seconds, 3), "train_images_per_second": round(images / seconds, 3)}


def read_history(path: Path, resumed: str = "") -> list[dict[str, Any]]:
    """The entries in `path`, else in the directory `resumed` from; none where neither has any.

    Raises ValueError if they are damaged.
    """
    places = [path, *([Path(resumed) / path.name] if resumed else [])]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return []
    try:
        entries = read_record_file(path)
        if isinstance(entries, list) and all(is_number(entry[key]) for entry in entries for key in NUMBERS):
            return entries
    except (ValueError, TypeError, KeyError):
        pass
    raise ValueError(f"{path} is damaged; delete it, and the run resumes without the epochs before.")
