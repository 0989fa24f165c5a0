"""Feature shift and features at the end of an evaluation, against Eq. 6 written out on a plain CLIP."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import small_run
import torch
from clip.model import CLIP
from dassl.engine import SimpleTrainer
from record_files import documented, rows_of
from torch.nn import functional as F

from promptclip import FeatureShift, load_clip
from promptclip import plain as oracle
from promptclip.shift import ShiftStatistics
from runs import evaluation as runs_evaluation
from runs.evaluation import Evaluation, spread

DEPTHS = {
    "LPT": ("TRAINER.LPT.PROMPT_DEPTH_TEXT", "2"),
    "VPT": ("TRAINER.VPT.PROMPT_DEPTH_VISION", "2"),
    "IVLP": ("TRAINER.IVLP.PROMPT_DEPTH_TEXT", "2", "TRAINER.IVLP.PROMPT_DEPTH_VISION", "2"),
    "MaPLe": ("TRAINER.MAPLE.PROMPT_DEPTH", "2"),
    "CoOp": (),
    "CoCoOp": (),
    "KgCoOp": (),
}
SHORT = ("OPTIM.MAX_EPOCH", "1", "TEST.SAVE_FEATURES", "True")


@pytest.fixture
def trained(monkeypatch):
    """The trainers whose evaluations were run, newest last, as they were at the end."""
    kept, after_train = [], SimpleTrainer.after_train
    monkeypatch.setattr(SimpleTrainer, "after_train", lambda self: (kept.append(self), after_train(self)))
    return kept


def summary(norms, entries):
    values = norms.double() / torch.as_tensor(entries).sqrt()
    return {"mean": values.mean(1).tolist(), "std": values.std(1, correction=0).tolist()}


def close(found, expected):
    return all(found[key] == pytest.approx(expected[key], rel=1e-4, abs=1e-7) for key in ("mean", "std"))


@pytest.mark.parametrize("method", DEPTHS)
@torch.no_grad()
def test_shift_of_every_method(perform, tmp_path, trained, method):
    with torch.enable_grad():
        record = perform(tmp_path / "out", "--trainer", method, *SHORT, *DEPTHS[method]).record
    (trainer,) = trained
    model: CLIP = load_clip(record["backbone"]).float()
    prompts = trainer.learner.prompts
    class_prompts = prompts.class_prompts(list(small_run.CLASSES), 77)
    images = torch.stack([trainer.test_loader.dataset[number]["img"] for number in range(6)])
    nothing = {"mean": [0.0, 0.0], "std": [0.0, 0.0]}
    text, vision = record["feature_shift"]["text"], record["feature_shift"]["vision"]
    if method == "CoCoOp":
        (contexts,) = prompts.text(oracle.vision(model, images, [])[0])
        norms = torch.stack([oracle.text(model, class_prompts, [context])[1] for context in contexts]).mean(0)
    elif method != "VPT":
        norms = oracle.text(model, class_prompts, prompts.text())[1]
    if method == "VPT":
        assert text == nothing
    else:
        entries = [64 * sum(index < 0 for index in row) for row in class_prompts.context]
        assert close(text, summary(norms, entries))
    if method in ("VPT", "IVLP", "MaPLe"):
        norms = oracle.vision(model, images, prompts.vision())[1]
        assert close(vision, summary(norms, [64 * 5] * 6))  # a class token and four patches
    else:
        assert vision == nothing
    assert record["discrepancy"] == pytest.approx(
        [abs(t - v) for t, v in zip(text["mean"], vision["mean"], strict=True)]
    )


@pytest.mark.parametrize("method", ["ZeroshotCLIP", "CoOp", "CoCoOp", "RESTORE_p"])
def test_features_are_what_was_compared(perform, tmp_path, method):
    run = perform(tmp_path / "out", "--trainer", method, *SHORT)
    with np.load(run.directory / "features.npz", allow_pickle=False) as file:
        found = dict(file)
    assert list(found) == documented("features.npz")
    assert found["image_features"].shape == (6, 32) and found["text_features"].shape == (3, 32)
    assert found["labels"].tolist() == [0, 0, 1, 1, 2, 2] and found["classnames"].tolist() == list(small_run.CLASSES)
    image, text = (torch.from_numpy(found[name]).double() for name in ("image_features", "text_features"))
    assert torch.allclose(image.norm(dim=1), torch.ones(6).double(), atol=1e-3)
    scale = load_clip(run.record["backbone"]).logit_scale.exp().double()
    true = (scale * F.normalize(image) @ F.normalize(text).T).softmax(1)[range(6), found["labels"]]
    expected = [float(row["true_probability"]) for row in rows_of(run.directory)]
    assert true.tolist() == pytest.approx(expected, abs=0.02)  # features are float16, CoCoOp's text a mean
    assert (run.record["feature_shift"] is None) == (method == "ZeroshotCLIP")


def test_features_asked_for_later_are_made_by_evaluating_again(perform, tmp_path):
    first = perform(tmp_path / "out", "OPTIM.MAX_EPOCH", "1")
    assert not (tmp_path / "out/features.npz").exists()
    second = perform(tmp_path / "out", *SHORT)
    assert (tmp_path / "out/features.npz").exists() and "Previous epoch: 1" in second.out
    for key in ("accuracy", "feature_shift", "train_seconds", "train_images_per_second"):
        assert first.record[key] == second.record[key]
    assert "Finished before" in perform(tmp_path / "out", *SHORT).out


def test_shift_switched_off_or_on_fewer_images(perform, tmp_path):
    off = perform(tmp_path / "off", *SHORT, "TEST.SHIFT_IMAGES", "0").record
    assert off["feature_shift"] is None and off["discrepancy"] is None
    few = perform(tmp_path / "few", *SHORT, "TEST.SHIFT_IMAGES", "2").record
    all_ = perform(tmp_path / "all", *SHORT).record
    assert few["feature_shift"]["text"] == all_["feature_shift"]["text"]
    assert few["feature_shift"]["vision"] != all_["feature_shift"]["vision"]
    assert off["experiment"] == few["experiment"] == all_["experiment"]


def test_the_time_for_shift_is_not_the_evaluations(perform, tmp_path, monkeypatch):
    measure = runs_evaluation.measure_shift
    monkeypatch.setattr(runs_evaluation, "measure_shift", lambda *args: (time.sleep(1), measure(*args)))
    record = perform(tmp_path / "out", "OPTIM.MAX_EPOCH", "1").record
    assert record["feature_shift"] is not None and 6 / record["test_images_per_second"] < 1


def test_shift_is_not_measured_in_the_evaluations_of_each_epoch(monkeypatch):
    trainer = SimpleNamespace(image_shift=None, get_model_names=lambda: ["learner"], epoch=0, max_epoch=2)
    test = SimpleNamespace(SPLIT="val", SHIFT_IMAGES=3)
    evaluation = Evaluation(trainer, SimpleNamespace(TEST=test, DATASET=SimpleNamespace(ROOT="")))
    monkeypatch.setattr("runs.evaluation.tower_statistics", lambda trainer: None)
    loader = SimpleNamespace(dataset=range(9))
    evaluation.epoch_begins(trainer)
    evaluation.evaluation_begins(trainer, "val", loader)
    assert evaluation.sample == frozenset()
    trainer.epoch = 1
    evaluation.epoch_begins(trainer)
    evaluation.evaluation_begins(trainer, "val", loader)
    assert evaluation.sample == {0, 3, 6}


def test_images_are_taken_from_the_whole_list():
    assert spread(10, 3) == [0, 3, 6] and spread(4, 256) == [0, 1, 2, 3] and spread(4, 0) == spread(0, 4) == []


def test_statistics_go_on_to_the_same_digits():
    torch.manual_seed(0)
    shifts = [FeatureShift(torch.rand(3, n), torch.full((n,), 7)) for n in (4, 2, 5)]
    whole, half = ShiftStatistics(3), ShiftStatistics(3)
    for shift in shifts:
        whole.add(shift)
    half.add(shifts[0])
    taken_up = ShiftStatistics(3)
    taken_up.load(half.state(), torch.device("cpu"))
    for shift in shifts[1:]:
        taken_up.add(shift)
    assert taken_up.summary() == whole.summary()
    assert close(whole.summary(), summary(torch.cat([shift.norm for shift in shifts], 1), [7.0] * 11))
