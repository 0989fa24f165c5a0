"""Base and new classes together: by hand, against every pair counted, and against scikit-learn's areas."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from record_files import rows_of
from sklearn.metrics import auc, roc_auc_score, roc_curve

import train
from runs.open_classes import JointScores, base_new_curve, detection, joint_figures, ordered_right_pairs
from runs.predictions import Joint, Predictions


def drawn(seed, images=200, classes=6, base=3):
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=images)
    logits = random.normal(size=(images, classes)).round(1)  # rounded: some are equal
    logits[np.arange(images), labels] += random.choice([0.0, 2.0], size=images)
    logits = logits.astype(np.float32).astype(float)  # as a model gives them
    joint = Joint(base, scale=100.0)
    joint.add(torch.from_numpy(logits), torch.from_numpy(labels))
    return logits, labels, joint.scores()


def test_by_hand():
    """Two base classes, one new; the third image is a base one that a new class takes, the last one is new."""
    joint = Joint(2, scale=1.0)
    logits = torch.tensor([[2.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 3.0], [1.5, 0.0, 1.0]])
    joint.add(logits, torch.tensor([0, 1, 1, 2]))
    found = joint_figures(joint.scores())
    assert (found["base_images"], found["new_images"]) == (3, 1)
    assert found["base_accuracy"] == pytest.approx(100 / 3) and found["new_accuracy"] == 0
    assert found["harmonic_mean"] == 0
    # margins: 1, 1, -2, and 0.5 of the new image; right within their half: the first and third, and the new one
    assert found["ausuc"] == pytest.approx(100 / 3)  # of three pairs the first is right and in order
    # probabilities among base classes: of logit gaps 2, 1, 1 and 1.5: again the first alone
    assert found["openworld_auc"] == pytest.approx(100 / 3)
    assert found["curve"] == [[66.6667, 0.0], [33.3333, 0.0], [33.3333, 100.0], [0.0, 100.0]]
    assert found["detection"]["max_probability"] == {"auroc": pytest.approx(100 / 3), "fpr95": 100.0}


@pytest.mark.parametrize("seed", range(3))
def test_every_pair_counted(seed):
    logits, labels, scores = drawn(seed)
    base, new = logits[:, :3], logits[:, 3:]
    softmax = np.exp(base) / np.exp(base).sum(1, keepdims=True)
    for known, found in (
        (base.max(1) - new.max(1), ordered_right_pairs(scores, scores.margin.round(6))),
        (softmax.max(1).round(6), ordered_right_pairs(scores, scores.max_probability.round(6))),
    ):
        known, total, pairs = known.round(6), 0.0, 0
        for b in np.flatnonzero(labels < 3):
            for n in np.flatnonzero(labels >= 3):
                right = base[b].argmax() == labels[b] and 3 + new[n].argmax() == labels[n]
                total += right * ((known[b] > known[n]) + 0.5 * (known[b] == known[n]))
                pairs += 1
        assert found == pytest.approx(total / pairs)


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_is_that_of_a_bias_on_base_classes(seed):
    logits, labels, scores = drawn(seed)
    curve = base_new_curve(scores)
    for bias in (-4.05, -1.05, 0.05, 0.55, 3.05):
        biased = logits + bias * (np.arange(6) < 3)
        right = biased.argmax(1) == labels
        point = [100 * right[labels < 3].mean(), 100 * right[labels >= 3].mean()]
        assert np.abs(curve - point).sum(1).min() < 1e-9
    assert auc(curve[:, 0], curve[:, 1]) / 100 == pytest.approx(100 * ordered_right_pairs(scores, scores.margin))


@given(arrays(float, st.integers(1, 40), elements=st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.9])), st.integers(1, 40))
def test_detection_against_scikit_learn(known, count):
    unknown = np.resize(np.array([0.3, 0.2, 0.9, 0.05, 0.2]), count)
    truth = np.r_[np.ones(len(known)), np.zeros(count)]
    values = np.r_[known, unknown]
    false, true, _ = roc_curve(truth, values, drop_intermediate=False)
    found = detection(known, unknown)
    assert found["auroc"] == pytest.approx(100 * roc_auc_score(truth, values))
    assert found["fpr95"] == pytest.approx(100 * false[np.flatnonzero(true >= 0.95 - 1e-9)[0]])


def test_mcm_leaves_clips_scale_out():
    logits = torch.tensor([[100.0, 80.0, 0.0], [100.0, 95.0, 0.0]])
    joint = Joint(2, scale=100.0)
    joint.add(logits, torch.tensor([0, 2]))
    expected = (logits[:, :2] / 100).double().softmax(1).amax(1)
    assert joint.scores().mcm == pytest.approx(expected.numpy(), abs=1e-6)
    unknown = Joint(2, scale=None)
    unknown.add(logits, torch.tensor([0, 2]))
    assert unknown.scores().mcm is None and list(joint_figures(unknown.scores())["detection"]) == ["max_probability"]


def test_one_half_alone_has_no_figures():
    nothing = np.zeros(2)
    assert joint_figures(JointScores(np.ones(2, bool), *[np.ones(2, bool)] * 2, *[nothing] * 3)) is None


def test_rows_say_what_the_figures_rest_on(tmp_path):
    logits, labels, scores = drawn(0)
    predictions, joint = Predictions(str(tmp_path)), Joint(3, scale=100.0)
    predictions.add(["x"] * len(labels), torch.from_numpy(logits), torch.from_numpy(labels))
    joint.add(torch.from_numpy(logits), torch.from_numpy(labels))
    rows = list(csv.DictReader(predictions.text(joint).splitlines()))
    within = np.array([row["within_half"] == row["label"] for row in rows])
    assert (within == scores.correct_within).all()
    for column in ("margin", "max_probability", "mcm"):
        assert [float(row[column]) for row in rows] == pytest.approx(getattr(scores, column).tolist(), rel=1e-4)


@pytest.fixture
def folder(command, tmp_path):
    """Images of one's own in four classes, two of them base: options that name them."""
    source = Path(command[command.index("--root") + 1])
    for part, numbers in (("train", (1, 2)), ("test", (6, 7))):
        for label, kind in enumerate(("blue", "green", "red", "sea")):
            place = tmp_path / "mine" / part / kind
            place.mkdir(parents=True)
            for number in numbers:
                (place / f"{number}.png").write_bytes((source / f"{label % 3}_{number}.png").read_bytes())
    return ("OPTIM.MAX_EPOCH", "1", "DATASET.NAME", "ImageFolder", "DATASET.ROOT", str(tmp_path / "mine"))


def test_a_run_on_base_and_new_classes(perform, folder, tmp_path):
    base = perform(tmp_path / "base", *folder, "DATASET.SUBSAMPLE_CLASSES", "base").record
    assert base["joint"] is None and len(base["classnames"]) == 2 and base["ece"] is not None
    checkpoint = ("--eval-only", "--model-dir", str(tmp_path / "base"), "--load-epoch", "1")
    run = perform(tmp_path / "all", *checkpoint, *folder)
    found, rows = run.record["joint"], rows_of(run.directory)
    assert (run.record["protocol"], run.record["experiment"]) == ("base2new", base["experiment"])
    assert (found["base_images"], found["new_images"]) == (4, 4)
    right = [row["label"] == row["prediction"] for row in rows]
    assert found["base_accuracy"] == 25 * sum(right[:4]) and found["new_accuracy"] == 25 * sum(right[4:])
    assert "margin" in rows[0] and "mcm" in found["detection"]
    assert perform(tmp_path / "zero", "--trainer", "ZeroshotCLIP", "--eval-only", *folder).record["joint"]
    new = perform(tmp_path / "new", *checkpoint, *folder, "DATASET.SUBSAMPLE_CLASSES", "new").record
    assert new["joint"] is None and new["inference"] == "" and new["selected_on"] is None


def test_a_checkpoint_of_other_base_classes_is_refused(perform, command, folder, tmp_path, capfd):
    perform(tmp_path / "base", *folder, "DATASET.SUBSAMPLE_CLASSES", "base")
    record = json.loads((tmp_path / "base/metrics.json").read_text())
    (tmp_path / "base/metrics.json").write_text(json.dumps(record | {"classnames": ["blue", "red"]}))
    checkpoint = ("--eval-only", "--model-dir", str(tmp_path / "base"), "--load-epoch", "1")
    assert train.main([*command, "--output-dir", str(tmp_path / "all"), *checkpoint, *folder]) == 2
    assert "other base classes" in capfd.readouterr().err
