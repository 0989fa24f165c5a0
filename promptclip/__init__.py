"""CLIP with prompts: use what was trained, load CLIP, run its two towers with per-layer prompts, correct feature shift.

The names below are looked up when they are first used, so that `promptclip.common`, which needs neither torch nor
clip, is there at once for whoever only wants to say what is missing.
"""

import warnings
from importlib import import_module
from typing import Any

# clip reads its version check from pkg_resources, which announces its own end
warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)

_PLACES = {
    "Classifier": "classifier",
    "EMBEDDED": "backbone",
    "ClassPrompts": "class_prompts",
    "FeatureShift": "shift",
    "FeatureSurgery": "surgery",
    "Loss": "learner",
    "Output": "learner",
    "PromptLearner": "learner",
    "PromptModule": "prompts",
    "PromptedCLIP": "model",
    "Prompts": "prompts",
    "Surgery": "surgery",
    "backbone_names": "backbone",
    "load": "loading",
    "load_clip": "backbone",
}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    """A public name from the module that defines it."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from promptclip.common.names import require

    require("torch", "clip")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
