"""The feature-shift consistency loss as something any method that prompts both towers can add (RESTORE, Eq. 7-10)."""

from torch import Tensor, nn
from yacs.config import CfgNode

from promptclip import FeatureShift
from promptclip.prompts import blocks
from promptclip.shift import NORMS, ShiftScale, consistency
from trainers.prompt_trainer import Features, PromptTrainer


class ShiftLoss(PromptTrainer):
    """Mix-in: adds FS_WEIGHT (lambda_fs) times L^fs to the losses of the method it is mixed into.

    Its options: `FS_WEIGHT`, and `SHIFT_NORM` ("fro", "rms" or "relative"; see `promptclip.shift`).
    """

    training_only = ("shift_scale",)

    @property
    def tracks_shift(self) -> bool:
        """Measured only where something uses it."""
        return self.options.FS_WEIGHT > 0

    def check_options(self, options: CfgNode) -> None:
        """A weight that is not negative, and a known norm."""
        super().check_options(options)
        if options.FS_WEIGHT < 0:
            raise ValueError(f"FS_WEIGHT is {options.FS_WEIGHT}; lambda_fs is 0 (off) or positive.")
        if options.SHIFT_NORM not in NORMS:
            raise ValueError(f"SHIFT_NORM {options.SHIFT_NORM!r} is none of {', '.join(NORMS)}.")

    def build_learner(self) -> nn.Module:
        """The method's learnable part, and where "relative" shift keeps its first values."""
        learner = super().build_learner()
        text_blocks, vision_blocks = blocks(self.backbone)
        learner.shift_scale = ShiftScale(self.options.SHIFT_NORM, vision_blocks, text_blocks)
        return learner

    def observe(self, image_shift: FeatureShift | None, text_shift: FeatureShift | None) -> None:
        """Keep the step's norms, one number per block and modality."""
        if image_shift is not None:
            self.image_norms, self.text_norms = self.learner.shift_scale(image_shift, text_shift)

    def losses(self, features: Features, logits: Tensor, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The method's own losses and `fs`."""
        losses = super().losses(features, logits, images, labels)
        if self.tracks_shift and self.options.FS_WEIGHT > 0:
            losses["fs"] = self.options.FS_WEIGHT * consistency(self.image_norms, self.text_norms)
        if self.tracks_shift:  # what outlives the step holds no graph of it
            self.image_norms, self.text_norms = self.image_norms.detach(), self.text_norms.detach()
        return losses

    def logged(self) -> dict[str, Tensor]:
        """Summed shift of either modality."""
        if not self.tracks_shift:
            return super().logged()
        return super().logged() | {
            "shift_image": self.image_norms.sum(),
            "shift_text": self.text_norms.sum(),
        }
