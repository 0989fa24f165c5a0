"""Optimiser and learning-rate schedule of a run: Dassl's, and what some methods need besides."""

import math
from collections.abc import Sequence

from dassl.optim import build_lr_scheduler, build_optimizer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from yacs.config import CfgNode

from promptclip.learner import PromptLearner


def check(options: CfgNode) -> None:
    """Raise ValueError if OPTIM's keys do not go together."""
    for key, low in (("ADAM_EPS", 0.0), ("LR_MIN", 0.0)):
        value = options[key]
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value < math.inf:
            raise ValueError(f"OPTIM.{key} is {value!r}; allowed: a number from {low:g}.")
    if not options.PER_STEP:
        if options.LR_MIN:
            raise ValueError("OPTIM.LR_MIN only counts with OPTIM.PER_STEP True; Dassl's cosine ends at 0.")
    elif options.LR_SCHEDULER != "cosine" or options.WARMUP_EPOCH > 0:
        raise ValueError("OPTIM.PER_STEP is a cosine without warm-up: set LR_SCHEDULER cosine and WARMUP_EPOCH 0.")


def optimiser(learner: PromptLearner, options: CfgNode) -> Optimizer:
    """OPTIM's optimiser; what `learner.rates` names has a group of its own, with a multiple of the learning rate."""
    named = learner.named_learned()
    rate = {name: learner.rates.get(name.split(".")[0], 1.0) for name in named}
    groups = [
        {"params": [named[name] for name in named if rate[name] == one], "lr": options.LR * one}
        for one in dict.fromkeys(rate.values())
    ]
    made = build_optimizer(learner, options) if len(groups) == 1 else build_optimizer(learner, options, groups)
    for group in made.param_groups:
        if "eps" in group and options.NAME in ("adam", "amsgrad", "adamw"):
            group["eps"] = options.ADAM_EPS
    return made


def schedule(made: Optimizer, options: CfgNode, restarts: Sequence[int], steps: int) -> LRScheduler:
    """OPTIM's schedule, stepped once per epoch; with PER_STEP a cosine that is stepped with every step.

    Args:
        made: the optimiser.
        options: the node OPTIM.
        restarts: epochs, counted from 1, after which the cosine begins anew (with PER_STEP).
        steps: of an epoch.
    """
    if not options.PER_STEP:
        return build_lr_scheduler(made, options)
    bounds = [0, *(epoch * steps for epoch in restarts), options.MAX_EPOCH * steps]
    least = options.LR_MIN / options.LR if options.LR else 0.0

    def factor(step: int) -> float:
        """What the learning rate is multiplied by in step `step`, from 0."""
        start, end = next(
            (pair for pair in zip(bounds, bounds[1:], strict=False) if pair[0] <= step < pair[1]), (0, bounds[-1])
        )
        share = (step - start) / max(end - start, 1)
        return least + (1 - least) * (1 + math.cos(math.pi * share)) / 2

    return LambdaLR(made, factor)
