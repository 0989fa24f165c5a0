"""Whether a model's probabilities mean what they say: calibration errors, proper scores and the reliability curve.

docs/metrics.md has the definitions with their sources. N test images throughout.
"""

from typing import Any

import numpy as np

BINS = 15
"""Bins of every calibration error, as in Guo et al. (2017) and the field since."""


def calibration(
    confidence: np.ndarray, correct: np.ndarray, log_true: np.ndarray, squared_error: np.ndarray
) -> dict[str, Any]:
    """The figures of an evaluation for its record; None where there is no image.

    Args:
        confidence: (N,) probability of the predicted class, 0 to 1.
        correct: (N,) whether the prediction is right.
        log_true: (N,) natural logarithm of the true class's probability.
        squared_error: (N,) sum over classes of (probability - truth)^2.
    """
    if not len(confidence):
        return dict.fromkeys(("ece", "adaptive_ece", "mce", "brier", "nll", "reliability"))
    curve = reliability(confidence, correct)
    return {
        "ece": 100 * expected_error(curve),
        "adaptive_ece": 100 * adaptive_error(confidence, correct),
        "mce": 100 * greatest_error(curve),
        "brier": float(np.mean(squared_error)),
        "nll": float(-np.mean(log_true)),
        "reliability": curve,
    }


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> dict[str, list]:
    """`count`, mean `confidence` and `accuracy` (0 to 1) of equally wide bins (a, b]; None in empty ones."""
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    edges = np.linspace(0, 1, bins + 1)
    places = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(places, minlength=bins)
    sums = (np.bincount(places, weights=values, minlength=bins) for values in (confidence, correct))
    means = ([float(s / n) if n else None for s, n in zip(part, count, strict=True)] for part in sums)
    return dict(zip(("confidence", "accuracy", "count"), (*means, count.tolist()), strict=True))


def gaps(curve: dict[str, list]) -> list[tuple[int, float]]:
    """(images, |accuracy - confidence|) of each bin that is not empty."""
    return [
        (count, abs(accuracy - confidence))
        for count, accuracy, confidence in zip(curve["count"], curve["accuracy"], curve["confidence"], strict=True)
        if count
    ]


def expected_error(curve: dict[str, list]) -> float:
    """Expected calibration error, 0 to 1 (Naeini et al., 2015; Guo et al., 2017, Eq. 3)."""
    found = gaps(curve)
    return sum(count * gap for count, gap in found) / sum(count for count, _ in found)


def greatest_error(curve: dict[str, list]) -> float:
    """Maximum calibration error, 0 to 1 (Guo et al., 2017, Eq. 5)."""
    return max(gap for _, gap in gaps(curve))


def adaptive_error(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """The expected calibration error over bins of as many images each, 0 to 1 (Nguyen and O'Connor, 2015).

    Images of the same confidence share their accuracy, so that the order of the images does not matter.
    """
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    values, places, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    shared = np.repeat(np.bincount(places, weights=correct) / counts, counts)
    parts = zip(*(np.array_split(part, bins) for part in (np.repeat(values, counts), shared)), strict=True)
    return float(sum(abs(np.sum(accuracy - sure)) for sure, accuracy in parts) / len(confidence))
