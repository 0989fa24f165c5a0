"""CLIP with prompts: load it, run its two towers with per-layer prompts, measure and correct feature shift."""

from needs import require

require("torch", "clip")

from promptclip.load import EMBEDDED, backbone_names, load_clip  # noqa: E402
from promptclip.model import PromptedCLIP  # noqa: E402
from promptclip.prompts import Prompts  # noqa: E402
from promptclip.shift import FeatureShift  # noqa: E402
from promptclip.surgery import Surgery  # noqa: E402
from promptclip.tokens import ClassPrompts  # noqa: E402

__all__ = [
    "EMBEDDED",
    "ClassPrompts",
    "FeatureShift",
    "PromptedCLIP",
    "Prompts",
    "Surgery",
    "backbone_names",
    "load_clip",
]
