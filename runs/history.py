"""`history.json`: what each epoch of a training came to. A resumed run goes on in it, to the same numbers."""

import json
import time
from pathlib import Path
from typing import Any

from dassl.utils import MetricMeter

from runs.directory import Claim
from runs.record import finite, write_atomically
from runs.shift import AT_ONCE, ShiftMeter, measures_shift, spread

NUMBERS = ("epoch", "seconds", "images_per_second")
SAVED = "history"
"""Key of the sums so far, among the meters in a checkpoint inside an epoch."""


class History:
    """Listens to the training of `trainer` and rewrites history.json in the claimed directory after each epoch.

    It is written before the epoch's checkpoint: a run killed between the two trains the epoch again, and drops the
    entry. Nothing here draws a random number.
    """

    def __init__(self, trainer: Any, claim: Claim) -> None:
        self.trainer, self.claim, self.path = trainer, claim, claim.directory / "history.json"
        self.entries: list[dict[str, Any]] = []
        self.images, self.rate = 0, 0.0
        self.start()
        self.run_epoch, self.step = trainer.run_epoch, trainer.forward_backward
        trainer.run_epoch, trainer.forward_backward = self.watched_epoch, self.watched_step
        if hasattr(trainer, "save_inside_epoch"):  # upstream's Dassl does not stop inside an epoch
            self.save, self.go_on = trainer.save_inside_epoch, trainer.go_on_inside_epoch
            trainer.save_inside_epoch, trainer.go_on_inside_epoch = self.watched_save, self.watched_go_on

    def start(self) -> None:
        """Forget what was summed up."""
        self.meters = MetricMeter()
        self.other: set[str] | None = None  # names of what is logged besides losses; known once a step was made
        self.shift = ShiftMeter(self.trainer) if measures_shift(self.trainer) else None

    # ---- in place of the trainer's own ----

    def watched_epoch(self) -> None:
        """`trainer.run_epoch`, and the entry of the epoch."""
        trainer = self.trainer
        if not self.entries:
            self.entries = read_history(self.path, trainer.cfg.RESUME)
        self.start()
        self.rate, self.images, began = trainer.get_current_lr(), 0, time.perf_counter()
        self.run_epoch()
        seconds = time.perf_counter() - began
        means = {name: meter.avg for name, meter in self.meters.meters.items()}
        other = self.other or set()
        entry = {
            "epoch": trainer.epoch + 1,
            "seconds": round(seconds, 3),
            "images_per_second": round(self.images / seconds, 3),
            "lr": self.rate,
            "losses": {name: mean for name, mean in means.items() if name not in other | {"acc"}},
            "other": {name: mean for name, mean in means.items() if name in other},
            "accuracy": means.get("acc"),
            "feature_shift": self.epoch_shift(),
        }
        self.entries = [one for one in self.entries if one["epoch"] <= trainer.epoch] + [entry]
        self.claim.check()
        write_atomically(self.path, json.dumps(finite(self.entries), indent=1) + "\n")

    def watched_step(self, *batches: Any) -> dict[str, float]:
        """`trainer.forward_backward`."""
        summary = self.step(*batches)
        self.meters.update(summary)
        if self.other is None:
            self.other = set(self.trainer.logged()) if hasattr(self.trainer, "logged") else set()
        self.images += len(batches[0]["label"])
        if self.shift is not None:
            self.shift.add(*self.trainer.shifts)
        return summary

    def watched_save(self, batches: int, start_rng: dict[str, Any], meters: MetricMeter) -> None:
        """`trainer.save_inside_epoch`, the sums so far going into the checkpoint along with the log's meters."""
        self.save(batches, start_rng, _Both(meters, self.state()))

    def watched_go_on(self, step: dict[str, Any], meters: MetricMeter) -> None:
        """`trainer.go_on_inside_epoch`: take the sums up again. Raises ValueError if they are damaged."""
        try:
            logged = dict(step["meters"])
            saved = logged.pop(SAVED, None)
            if saved is not None:
                self.load(saved)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, ZeroDivisionError) as error:
            raise ValueError(f"The checkpoint's sums for history.json are damaged ({error!r}).") from error
        self.go_on({**step, "meters": logged}, meters)

    # ---- sums of an epoch ----

    def state(self) -> dict[str, Any]:
        """The sums as plain numbers."""
        shift = None if self.shift is None else [self.shift.text.state(), self.shift.vision.state()]
        return {"lr": self.rate, "meters": self.meters.state(), "shift": shift, "other": sorted(self.other or ())}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.rate = float(state["lr"])  # behind an epoch's last step the schedule is at the next epoch's
        self.meters.load_state(state["meters"])
        self.other = set(state["other"])
        if self.shift is not None and state["shift"] is not None:
            for statistics, saved in zip((self.shift.text, self.shift.vision), state["shift"], strict=True):
                statistics.load(saved, self.trainer.device)

    def epoch_shift(self) -> dict[str, Any] | None:
        """Shift after the epoch on a few training images, if asked for; else over the steps, if they measure it."""
        if self.shift is None:
            return None
        if self.trainer.cfg.TRAIN.TRACK_SHIFT:
            meter = ShiftMeter(self.trainer)
            meter.measure(self.few_images())
            return meter.summary()
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


class _Both:
    """Two meters' states in one, as `Saving.save_inside_epoch` asks for it."""

    def __init__(self, meters: MetricMeter, more: dict[str, Any]) -> None:
        self.meters, self.more = meters, more

    def state(self) -> dict[str, Any]:
        """The state of the meters, and what is saved along with it."""
        return {**self.meters.state(), SAVED: self.more}


def read_history(path: Path, resumed: str = "") -> list[dict[str, Any]]:
    """The entries in `path`, else in the directory `resumed` from; none where neither has any.

    Raises ValueError if they are damaged.
    """
    places = [path, *([Path(resumed) / path.name] if resumed else [])]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(entry[key], int | float) for entry in entries for key in NUMBERS):
            return entries
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise ValueError(f"{path} is damaged; delete it, and the run goes on without the epochs before.")
