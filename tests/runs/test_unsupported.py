"""An evaluation that a method cannot make ends with a record that says so, before anything is loaded."""

from dataclasses import replace

import pytest
from dassl.engine import TRAINER_REGISTRY

from runs.evaluation import inference, selected_on
from runs.possible import unsupported

REASON = "it has one row for each class it was trained on"


@pytest.fixture
def limited(monkeypatch):
    """RESTORE_p, if it could not take new class names."""
    trainer = TRAINER_REGISTRY.get("RESTORE_p")
    monkeypatch.setattr(trainer, "method", replace(trainer.method, new_classes=REASON))


def test_the_record_of_what_cannot_be(perform, limited, tmp_path):
    short = ("OPTIM.MAX_EPOCH", "1")
    base = perform(tmp_path / "base", *short, "DATASET.SUBSAMPLE_CLASSES", "base").record
    assert base["accuracy"] is not None and "unsupported" not in base
    checkpoint = ("--eval-only", "--model-dir", str(tmp_path / "base"), "--load-epoch", "1", *short)
    for subset in ("new", "all"):
        run = perform(tmp_path / subset, *checkpoint, "DATASET.SUBSAMPLE_CLASSES", subset)
        assert run.record["complete"] is True and run.record["accuracy"] is None
        assert run.record["unsupported"] == REASON and REASON in run.out
        assert not (run.directory / "log.txt").exists()  # nothing was built
        assert REASON in perform(tmp_path / subset, *checkpoint, "DATASET.SUBSAMPLE_CLASSES", subset).out
    same = perform(tmp_path / "same", *checkpoint, "DATASET.SUBSAMPLE_CLASSES", "base").record
    assert same["accuracy"] == base["accuracy"]


def test_a_reason_is_one_sentence():
    assert unsupported(ValueError("no\n  text")) == {"accuracy": None, "unsupported": "no text"}
    assert unsupported("")["unsupported"]


def test_what_parts_say_of_an_evaluation():
    class Part:
        def __init__(self, text, selected=None):
            self.text, self.selected_on = text, selected

        def inference(self, classes):
            return self.text and f"{self.text} of {classes}"

    class Trainer:
        classes = "three"

        class learner:
            head, class_texts = Part("cache", "test"), Part("")

    assert inference(Trainer()) == "cache of three" and selected_on(Trainer()) == "test"
    assert inference(object()) == "" and selected_on(object()) is None
