"""Calibration errors and proper scores: small cases worked out by hand, and scikit-learn's where it has them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss
from torch.nn import functional as F

from runs.calibration import adaptive_error, calibration, expected_error, greatest_error, reliability
from runs.predictions import Predictions

# five images; with two bins, (0, 0.5] holds 0.3 right and 0.5 wrong, (0.5, 1] holds 0.6 wrong, 0.9 right, 1.0 right
SURE = np.array([0.3, 0.5, 0.6, 0.9, 1.0])
RIGHT = np.array([True, False, False, True, True])


def test_errors_by_hand():
    curve = reliability(SURE, RIGHT, bins=2)
    assert curve["count"] == [2, 3]
    assert curve["confidence"] == pytest.approx([0.4, 2.5 / 3]) and curve["accuracy"] == pytest.approx([0.5, 2 / 3])
    assert expected_error(curve) == pytest.approx((2 * 0.1 + 3 * (0.5 / 3)) / 5)
    assert greatest_error(curve) == pytest.approx(0.5 / 3)
    # equal masses: 0.3, 0.5, 0.6 and 0.9, 1.0
    assert adaptive_error(SURE, RIGHT, bins=2) == pytest.approx((abs(1 - 1.4) + abs(2 - 1.9)) / 5)


def test_an_edge_belongs_to_the_bin_below_and_empty_bins_say_so():
    curve = reliability(np.array([0.0, 1 / 15, 1 / 15 + 1e-9, 1.0]), np.ones(4))
    assert curve["count"] == [2, 1, *[0] * 12, 1] and curve["accuracy"][2:14] == [None] * 12


def scores(seed, images=400, classes=7):
    random = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(images, classes, generator=random), torch.randint(classes, (images,), generator=random)


@pytest.mark.parametrize("seed", range(3))
def test_against_scikit_learn(tmp_path, seed):
    logits, labels = scores(seed)
    found = Predictions(str(tmp_path))
    for part, truth in zip(logits.split(64), labels.split(64), strict=True):
        found.add(["x"] * len(truth), part, truth)
    figures = found.figures(7)
    probabilities = logits.double().softmax(1).numpy()
    right, sure = probabilities.argmax(1) == labels.numpy(), probabilities.max(1)
    truth = F.one_hot(labels, 7).numpy()
    assert figures["nll"] == pytest.approx(log_loss(labels.numpy(), probabilities), rel=1e-5)
    assert figures["brier"] == pytest.approx(((probabilities - truth) ** 2).sum(1).mean(), rel=1e-5)
    accuracy, confidence = calibration_curve(right, sure, n_bins=15, strategy="uniform")
    curve = figures["reliability"]
    assert [one for one in curve["accuracy"] if one is not None] == pytest.approx(accuracy, abs=1e-5)
    assert [one for one in curve["confidence"] if one is not None] == pytest.approx(confidence, abs=1e-5)
    share = np.histogram(sure, bins=15, range=(0, 1))[0]
    expected = (share[share > 0] * abs(accuracy - confidence)).sum() / len(sure)
    assert figures["ece"] == pytest.approx(100 * expected, abs=1e-4)
    assert figures["mce"] == pytest.approx(100 * abs(accuracy - confidence).max(), abs=1e-3)
    accuracy, confidence = calibration_curve(right, sure, n_bins=10, strategy="quantile")  # 40 images each
    assert adaptive_error(sure, right, bins=10) == pytest.approx(abs(accuracy - confidence).mean(), abs=1e-6)


def test_a_probability_that_underflows_still_has_its_logarithm(tmp_path):
    found = Predictions(str(tmp_path))
    found.add(["x"], torch.tensor([[0.0, 400.0]]), torch.tensor([0]))
    figures = found.figures(2)
    assert figures["nll"] == pytest.approx(400) and figures["brier"] == pytest.approx(2)
    assert figures["ece"] == figures["mce"] == pytest.approx(100)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0]), st.booleans()), min_size=1), st.randoms())
def test_the_order_of_the_images_does_not_matter(images, random):
    shuffled = random.sample(images, len(images))
    one, other = (
        calibration(*map(np.array, zip(*part, strict=True)), np.zeros(len(part)), np.zeros(len(part)))
        for part in (images, shuffled)
    )
    for key in ("ece", "adaptive_ece", "mce"):
        assert one[key] == pytest.approx(other[key]) and 0 <= one[key] <= 100 + 1e-9
    assert one["ece"] <= one["mce"] + 1e-9


def test_no_image_has_no_figure():
    assert set(calibration(*[np.array([])] * 4).values()) == {None}
