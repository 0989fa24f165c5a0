"""What is infinite or not a number ends a training, in a sentence that names what broke; nothing is learned from it."""

import math
from collections.abc import Mapping

from promptclip.learner import PromptLearner


def refuse_losses(losses: Mapping[str, float], epoch: int, batch: int) -> None:
    """Raise FloatingPointError, naming the losses that are not finite; epoch and batch count from 0."""
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(
            f"Loss is infinite or NaN! The term {', '.join(bad)} broke in epoch {epoch + 1}, batch {batch + 1}; lower "
            "OPTIM.LR or use PREC fp32. The last checkpoint is untouched."
        )


def refuse_weights(learner: PromptLearner, method: str, when: str) -> None:
    """Raise FloatingPointError if a learned value is infinite or NaN; the sentence names it and what broke it."""
    bad = [name for name, value in learner.named_learned().items() if not value.isfinite().all()]
    if bad:
        raise FloatingPointError(
            f"What is learned is infinite or NaN {when}: {', '.join(bad[:3])}. The step before it broke it, while its "
            f"losses were finite: look at the options of {method} and at OPTIM. The last checkpoint is untouched."
        )
