"""Base and new classes in one evaluation: accuracy among all of them, and telling known from unknown.

A model trained on base classes is asked for one of all classes. docs/metrics.md has the definitions with their sources.
N test images throughout; "base images" are those of base classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

CURVE_POINTS = 101
"""Points at most that a record keeps of the curve of base against new accuracy."""


@dataclass(frozen=True)
class JointScores:
    """What is kept of the scores of N images of base and of new classes.

    Attributes:
        is_base: (N,) whether the image is of a base class.
        correct: (N,) whether the highest score of all classes is that of the true one.
        correct_within: (N,) whether the highest score among the image's own half of the classes is.
        margin: (N,) highest score of a base class less the highest of a new class.
        max_probability: (N,) highest probability among the base classes alone.
        mcm: (N,) the same of scores without CLIP's scale (softmax of cosines at temperature 1); None where the scale
            is not known.
    """

    is_base: np.ndarray
    correct: np.ndarray
    correct_within: np.ndarray
    margin: np.ndarray
    max_probability: np.ndarray
    mcm: np.ndarray | None


def joint_figures(scores: JointScores) -> dict[str, Any] | None:
    """The record's `joint`; None where one of the halves has no image. Accuracies and areas in percent."""
    base, new = scores.is_base, ~scores.is_base
    if not base.any() or not new.any():
        return None
    accuracies = [100 * float(scores.correct[half].mean()) for half in (base, new)]
    curve = base_new_curve(scores)
    return {
        "base_accuracy": accuracies[0],
        "new_accuracy": accuracies[1],
        "harmonic_mean": 2 * accuracies[0] * accuracies[1] / sum(accuracies) if sum(accuracies) else 0.0,
        "ausuc": 100 * ordered_right_pairs(scores, scores.margin),
        "openworld_auc": 100 * ordered_right_pairs(scores, scores.max_probability),
        "base_images": int(base.sum()),
        "new_images": int(new.sum()),
        "curve": thinned(curve),
        "detection": {
            name: detection(value[base], value[new])
            for name, value in (("max_probability", scores.max_probability), ("mcm", scores.mcm))
            if value is not None
        },
    }


def ordered_right_pairs(scores: JointScores, known: np.ndarray) -> float:
    """How many pairs of a base and a new image, 0 to 1, are both right within their halves, the base one more `known`.

    With `known` a probability over base classes it is OpenworldAUC (Hua et al., 2025); with the margin between base and
    new classes, the area under the curve of base against new accuracy (AUSUC). Equal values count half.
    """
    base, new = scores.is_base, ~scores.is_base
    kept = np.sort(known[new & scores.correct_within])
    asked = known[base & scores.correct_within]
    below = (np.searchsorted(kept, asked, "left") + np.searchsorted(kept, asked, "right")) / 2
    return float(below.sum() / (base.sum() * new.sum()))


def base_new_curve(scores: JointScores) -> np.ndarray:
    """(P, 2) base and new accuracy, in percent, as a bias on the base classes' scores falls from +inf to -inf.

    Chao et al. (2016), "calibrated stacking": a base image is right while its class is the best of the base classes and
    the biased score is above every new class's.
    """
    base, new = scores.is_base, ~scores.is_base
    right = {half: np.sort(scores.margin[which & scores.correct_within]) for half, which in ((0, base), (1, new))}
    margins = np.unique(scores.margin)
    # between two neighbouring margins nothing changes: base images above the threshold are right, new ones below it
    over = len(right[0]) - np.searchsorted(right[0], margins, "left")
    under = np.searchsorted(right[1], margins, "left")
    points = np.stack([over / base.sum(), under / new.sum()], axis=1)
    return 100 * np.concatenate([points, [[0.0, len(right[1]) / new.sum()]]])


def thinned(curve: np.ndarray) -> list[list[float]]:
    """At most CURVE_POINTS of a curve's points, both ends among them."""
    places = np.unique(np.linspace(0, len(curve) - 1, min(CURVE_POINTS, len(curve))).round().astype(int))
    return [[round(float(value), 4) for value in point] for point in curve[places]]


def detection(known: np.ndarray, unknown: np.ndarray) -> dict[str, float]:
    """`auroc` and `fpr95` in percent of a score that should be higher for known than for unknown images.

    fpr95 is the share of unknown images that pass where 95 % of the known ones do (the highest such threshold).
    """
    ranked = np.sort(unknown)
    below = (np.searchsorted(ranked, known, "left") + np.searchsorted(ranked, known, "right")) / 2
    threshold = np.sort(known)[::-1][int(np.ceil(0.95 * len(known))) - 1]
    return {
        "auroc": 100 * float(below.sum() / (len(known) * len(unknown))),
        "fpr95": 100 * float(np.mean(unknown >= threshold)),
    }
