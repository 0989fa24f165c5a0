"""history.json: its keys, its numbers, and continuing it; tests/reliability has runs that are killed and stopped."""

import json
import re

import pytest
import small_run
import torch
from dassl.engine import TRAINER_REGISTRY
from dassl.utils import load_checkpoint
from record_files import documented

import train
import trainers  # noqa: F401  registers the methods
from runs.history import read_history

RESTORE = TRAINER_REGISTRY.get("RESTORE_p")
IVLP = ("--trainer", "IVLP", "TRAINER.IVLP.PROMPT_DEPTH_TEXT", "2", "TRAINER.IVLP.PROMPT_DEPTH_VISION", "2")
TIMES = ("seconds", "images_per_second")


def history(directory, times=False):
    entries = json.loads((directory / "history.json").read_text())
    return [{key: value for key, value in entry.items() if times or key not in TIMES} for entry in entries]


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """Four epochs of RESTORE_p that nothing disturbed."""
    directory = tmp_path_factory.mktemp("whole") / "out"
    assert train.main([*command, "--output-dir", str(directory)]) == 0
    return directory


def test_an_entry_an_epoch(whole):
    entries = history(whole, times=True)
    assert [entry["epoch"] for entry in entries] == [1, 2, 3, 4]
    assert [entry["lr"] for entry in entries] == pytest.approx([1e-5, 0.01, 0.01 * (1 + 0.5**0.5) / 2, 0.005])
    for entry in entries:
        assert list(entry) == documented("history.json")
        assert set(entry["losses"]) == {"loss", "ce", "text", "image", "kl", "fs"}
        assert set(entry["other"]) == {"shift_image", "shift_text", "alpha_image", "alpha_text"}
        assert entry["losses"]["loss"] == pytest.approx(sum(entry["losses"].values()) / 2, rel=1e-5)
        assert 0 <= entry["accuracy"] <= 100 and entry["seconds"] > 0


def test_the_means_are_those_of_the_log(whole):
    lines = small_run.epoch_lines(whole)
    for entry in history(whole):
        shown = dict(re.findall(r"(\w+) [\d.]+ \(([\d.]+)\)", lines[entry["epoch"], 3]))
        means = entry["losses"] | entry["other"] | {"acc": entry["accuracy"]}
        assert shown == {name: f"{mean:.4f}" for name, mean in means.items()}


def test_shift_over_the_steps_adds_up_to_what_the_log_shows(whole):
    for entry in history(whole):
        for tower, name in (("vision", "shift_image"), ("text", "shift_text")):
            found = entry["feature_shift"][tower]
            assert len(found["mean"]) == len(found["std"]) == 2
            assert sum(found["mean"]) == pytest.approx(entry["other"][name], rel=1e-5)
            assert min(found["mean"]) > 0 and min(found["std"]) > 0


def test_images_a_second_and_seconds_are_in_the_record(whole):
    entries = history(whole, times=True)
    record = json.loads((whole / "metrics.json").read_text())
    assert record["train_seconds"] == pytest.approx(sum(entry["seconds"] for entry in entries))
    assert record["train_images_per_second"] == pytest.approx(4 * 12 / record["train_seconds"], rel=0.05)
    # three steps of four images an epoch, times being rounded


def test_epochs_behind_the_point_of_resumption_are_dropped(perform, whole, tmp_path, monkeypatch):
    step = RESTORE.forward_backward

    def broken(self, batch):
        if self.epoch == 3:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setattr(RESTORE, "forward_backward", broken)
    out = tmp_path / "out"
    perform(out, "TRAIN.CHECKPOINT_FREQ", "2", code=75)
    assert history(out) == history(whole)[:3]
    seen = []

    def notes(self, batch):
        seen.append((self.epoch, [entry["epoch"] for entry in history(out)]))
        return step(self, batch)

    monkeypatch.setattr(RESTORE, "forward_backward", notes)
    perform(out, "TRAIN.CHECKPOINT_FREQ", "2")
    assert seen[0] == (2, [1, 2, 3]) and seen[-1] == (3, [1, 2, 3])
    assert history(out) == history(whole)


@pytest.mark.parametrize("batch", [0, 2])
def test_an_epoch_that_was_stopped_has_the_entry_of_a_whole_one(batch, perform, whole, tmp_path, monkeypatch):
    step = RESTORE.forward_backward

    def stopped(self, data):
        self.stop_requested = (self.epoch, self.batch_idx) == (0, batch)
        return step(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(RESTORE, "forward_backward", stopped)
        perform(tmp_path / "out", code=75)
    assert not (tmp_path / "out" / "history.json").exists()
    assert f"Resuming after batch {batch + 1}" in perform(tmp_path / "out").out
    assert history(tmp_path / "out") == history(whole)


def test_a_run_resumed_from_elsewhere_goes_on_in_its_history(perform, whole, tmp_path):
    perform(tmp_path / "begun", "OPTIM.MAX_EPOCH", "2")
    found = perform(tmp_path / "out", "RESUME", str(tmp_path / "begun"))
    assert [entry["epoch"] for entry in history(tmp_path / "out")] == [1, 2, 3, 4]
    assert history(tmp_path / "out")[:2] == history(tmp_path / "begun")
    assert found.record["train_seconds"] > 0


def test_tracking_is_the_same_in_all_methods_and_changes_nothing(perform, tmp_path):
    plain = perform(tmp_path / "plain", *IVLP, "TEST.SHIFT_IMAGES", "0")
    tracked = perform(tmp_path / "tracked", *IVLP, "TRAIN.TRACK_SHIFT", "True", "TEST.SAVE_FEATURES", "True")
    assert [entry["feature_shift"] for entry in history(plain.directory)] == [None] * 4
    shifts = [entry.pop("feature_shift") for entry in history(tracked.directory)]
    assert min(shifts[-1]["vision"]["mean"]) > 0 and shifts[0] != shifts[-1]
    states = [load_checkpoint(str(run.directory / "VLPromptLearner/model.pth.tar-4")) for run in (plain, tracked)]
    assert small_run.equal(*states)
    assert plain.record["per_class_accuracy"] == tracked.record["per_class_accuracy"]
    assert "Finished before" in perform(plain.directory, *IVLP, "TRAIN.TRACK_SHIFT", "True").out


def test_ivlp_with_the_shift_loss_is_figure_4s(perform, tmp_path):
    found = perform(tmp_path / "out", *IVLP, "TRAINER.IVLP.FS_WEIGHT", "1.0", "OPTIM.MAX_EPOCH", "1")
    (entry,) = history(found.directory)
    assert set(entry["losses"]) == {"loss", "ce", "fs"} and not any("alpha" in name for name in entry["other"])
    assert entry["feature_shift"] is not None
    state = torch.load(found.directory / "VLPromptLearner/model.pth.tar-1", weights_only=True)["state_dict"]
    assert not any("surgery" in name for name in state)


DAMAGED = ["{", "{}", "[1]", '[{"epoch": 1}]', '{"a": 1}', '[{"epoch": "1", "seconds": 1}]', "\xff", "[" * 100_000]
DAMAGED += [
    f'[{{"epoch": 1, "seconds": {value}, "images_per_second": 1}}]'
    for value in ("NaN", "1e999", "true", "1" + "0" * 400)
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_history(tmp_path, text):
    (tmp_path / "history.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match="history.json is damaged; delete it"):
        read_history(tmp_path / "history.json")


def test_no_history(tmp_path):
    assert read_history(tmp_path / "history.json") == read_history(tmp_path / "history.json", str(tmp_path)) == []
