"""The feature-shift consistency loss L^fs as any method that prompts both towers can add it (RESTORE, Eq. 7-10)."""

from promptclip.learner import Loss
from promptclip.prompts import blocks
from promptclip.shift import NORMS, ShiftScale, shift_loss
from trainers.method import Option, Options, Setup

FS_WEIGHT = Option(1.0, "lambda_fs, the weight of L^fs; 0 leaves it out", low=0)
SHIFT_NORM = Option("rms", "what brings the two towers' shift to one scale (promptclip.shift)", choices=NORMS)


def shift_scale(setup: Setup) -> ShiftScale:
    """Norm of Eq. 7-8, as SHIFT_NORM says."""
    text_blocks, vision_blocks = blocks(setup.clip.model)
    return ShiftScale(setup.options.SHIFT_NORM, vision_blocks, text_blocks)


def losses(options: Options) -> dict[str, Loss]:
    """L^fs under the name `fs`; nothing where its weight is 0."""
    return {"fs": Loss(options.FS_WEIGHT, shift_loss)} if options.FS_WEIGHT > 0 else {}
