"""Inert stand-ins for the objects that upstream Dassl pickles into a checkpoint's `scheduler` entry.

Upstream's warm-up scheduler saves its successor as a whole object, which drags the optimiser along. Their class names
are mapped to the classes below, so that torch.load(weights_only=True) can read such files: nothing of theirs is run,
the attributes are only put into a dict.
"""

from typing import Any


class Inert:
    """An unpickled object reduced to its attributes, in `state`."""

    state: dict = {}  # unpickling does not go through __init__

    def __init__(self, *args: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


def plain_dict(*args: Any) -> dict:
    """Stand for collections.defaultdict: an ordinary dict, which forgets the factory."""
    return {}


_SCHEDULERS = ("CosineAnnealingLR", "StepLR", "MultiStepLR", "LambdaLR")
_OPTIMISERS = ("sgd.SGD", "adam.Adam", "adamw.AdamW", "rmsprop.RMSprop", "radam.RAdam")
_DASSL = (
    "optim.lr_scheduler.ConstantWarmupScheduler",
    "optim.lr_scheduler.LinearWarmupScheduler",
    "optim.radam.RAdam",
    "optim.radam.PlainRAdam",
    "optim.radam.AdamW",
)

SAFE_GLOBALS = [
    *((Inert, f"torch.optim.lr_scheduler.{name}") for name in _SCHEDULERS),
    *((Inert, f"torch.optim.{name}") for name in _OPTIMISERS),
    *((Inert, f"dassl.{name}") for name in _DASSL),
    (plain_dict, "collections.defaultdict"),
    # the factory of old optimisers' defaultdict(dict)
    (plain_dict, "builtins.dict"),
]
