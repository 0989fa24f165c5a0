"""RESTORE: feature-shift consistency and surgery (arXiv 2403.06136), on MaPLe's and on PromptSRC's prompts."""

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from yacs.config import CfgNode

from promptclip import FeatureShift, Surgery
from trainers.gram_shift import GramShift
from trainers.independent import check_range
from trainers.maple import MaPLe
from trainers.prompt_trainer import Features
from trainers.promptsrc import PromptSRC
from trainers.shift_loss import ShiftLoss

OPTIONS = {
    "VARIANT": "paper",
    "FS_WEIGHT": 1.0,
    "SHIFT_NORM": "rms",
    "SURGERY": "fs_guided",
    "ALPHA_IMAGE": 0.1,
    "ALPHA_TEXT": 0.1,
    "GAMMA": 0.0,
    "BETA": 0.0,
    "ALPHA_MOMENTUM": 0.9,
    "SURGERY_ACT": "relu",
    "SURGERY_ZERO_INIT": True,
}
CHOICES = {
    "VARIANT": ("paper", "released"),
    "SURGERY": ("none", "fixed", "fs_guided"),
    "SURGERY_ACT": ("relu", "quickgelu"),
}


class Alpha(nn.Module):
    """Strength of one modality's surgery: alpha = gamma * sum over blocks of Norm(Omega_l), a running mean (Eq. 11).

    A control signal: no gradient flows through it. It is kept as a buffer, so that a test needs no second pass.

    Args:
        start: alpha before training, and at the first step where `gain` is 0.
        gain: gamma (image) or beta (text); 0 takes start / (summed shift of the first step), so that alpha begins at
            `start` whatever the backbone and the norm, and follows the shift from there.
        momentum: weight of the running mean's past.
    """

    def __init__(self, start: float, gain: float, momentum: float) -> None:
        super().__init__()
        self.start, self.momentum = start, momentum
        self.register_buffer("value", torch.tensor(float(start)))
        self.register_buffer("gain", torch.tensor(float(gain)))
        self.register_buffer("steps", torch.tensor(0.0))

    @torch.no_grad()
    def update(self, norms: Tensor) -> None:
        """Take in one training step's norms (L,)."""
        total = norms.detach().sum().to(self.gain.dtype)
        first = self.start / total.clamp_min(torch.finfo(total.dtype).tiny)
        self.gain.copy_(torch.where(self.gain > 0, self.gain, first))
        keep = torch.where(self.steps > 0, self.momentum, 0.0)
        self.value.copy_(keep * self.value + (1 - keep) * self.gain * total)
        self.steps += 1


class Restore(ShiftLoss):
    """Mix-in over a method that prompts both towers: L = L_ce + FS_WEIGHT * L^fs, and features corrected by surgery.

    `VARIANT` "paper" measures the shift of features (Eq. 6); "released" is the reading of the authors' code, with
    Gram norms of prompts (`gram_shift.py`), QuickGELU, and ratios ALPHA_IMAGE, ALPHA_TEXT that grow once.
    Options: `SHIFT_NORM`; `SURGERY` none, fixed (alpha stays ALPHA_*) or fs_guided (Eq. 11); `GAMMA`, `BETA`,
    `ALPHA_*`, `ALPHA_MOMENTUM` (see `Alpha`); `SURGERY_ACT`; `SURGERY_ZERO_INIT`: start from the uncorrected model.
    """

    training_only = (
        "shift_scale",
        "gram_shift",
        *(f"{m}_alpha.{key}" for m in ("image", "text") for key in ("gain", "steps")),
    )

    @property
    def tracks_shift(self) -> bool:
        """The paper's reading needs the features' shift for its loss and for guided surgery."""
        options = self.options
        return options.VARIANT == "paper" and (options.FS_WEIGHT > 0 or options.SURGERY == "fs_guided")

    def check_options(self, options: CfgNode) -> None:
        """Known choices, strengths in range."""
        super().check_options(options)
        for key, allowed in CHOICES.items():
            if options[key] not in allowed:
                raise ValueError(f"{key} {options[key]!r} is none of {', '.join(allowed)}.")
        check_range("ALPHA_MOMENTUM", options.ALPHA_MOMENTUM, 0, 1)
        for key in ("ALPHA_IMAGE", "ALPHA_TEXT", "GAMMA", "BETA"):
            if options[key] < 0:
                raise ValueError(f"{key} is {options[key]}; surgery's strength is 0 or positive.")

    def build_learner(self) -> nn.Module:
        """The method's prompts, two surgery blocks and their strengths."""
        learner, options = super().build_learner(), self.options
        if options.VARIANT == "released":
            learner.gram_shift = GramShift(options.PROMPT_DEPTH)
        if options.SURGERY == "none":
            return learner
        released = options.VARIANT == "released"
        act, zero = ("quickgelu", False) if released else (options.SURGERY_ACT, options.SURGERY_ZERO_INIT)
        width = self.backbone.text_projection.shape[1]
        for modality, start, gain in (
            ("text", options.ALPHA_TEXT, options.BETA),
            ("image", options.ALPHA_IMAGE, options.GAMMA),
        ):
            setattr(learner, f"{modality}_surgery", Surgery(width, act, zero))
            setattr(learner, f"{modality}_alpha", Alpha(start, gain, options.ALPHA_MOMENTUM))
        return learner

    def observe(self, image_shift: FeatureShift | None, text_shift: FeatureShift | None) -> None:
        """Let the step's shift set the strength of its surgery."""
        super().observe(image_shift, text_shift)
        if image_shift is not None and self.options.SURGERY == "fs_guided":
            self.learner.image_alpha.update(self.image_norms)
            self.learner.text_alpha.update(self.text_norms)

    def correct_image(self, features: Tensor) -> Tensor:
        """x + alpha_v * Surgery_v(x)."""
        return self._correct("image", features)

    def correct_text(self, features: Tensor) -> Tensor:
        """w + alpha_t * Surgery_t(w)."""
        return self._correct("text", features)

    def _correct(self, modality: str, features: Tensor) -> Tensor:
        if self.options.SURGERY == "none":
            return features
        alpha = getattr(self.learner, f"{modality}_alpha").value
        return features + alpha * getattr(self.learner, f"{modality}_surgery")(features)

    def losses(self, features: Features, logits: Tensor, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The method's losses and `fs`."""
        losses = super().losses(features, logits, images, labels)
        if self.options.VARIANT == "released":
            losses["fs"] = self.options.FS_WEIGHT * self.learner.gram_shift(self.learner())
        return losses

    def logged(self) -> dict[str, Tensor]:
        """Strength of either surgery."""
        shown = super().logged()
        if self.options.SURGERY != "none":
            for modality in ("image", "text"):
                shown[f"alpha_{modality}"] = getattr(self.learner, f"{modality}_alpha").value
        return shown

    def after_epoch(self) -> None:
        """The released code's ratios grow once, after a third of the epochs."""
        options = self.options
        guided = options.VARIANT == "released" and options.SURGERY == "fs_guided"
        if guided and self.epoch == self.max_epoch // 3:
            text, image = self.learner.gram_shift.mean_norms(self.learner())
            self.learner.text_alpha.value += 0.02 * text
            self.learner.image_alpha.value += 0.005 * image
        super().after_epoch()


@TRAINER_REGISTRY.register()
class RESTORE_m(Restore, MaPLe):
    """RESTORE on MaPLe's coupled prompts."""

    node = "RESTORE_M"
    learns = (*MaPLe.learns, "text_surgery", "image_surgery", "text_alpha", "image_alpha")
    defaults = {**MaPLe.defaults, **OPTIONS}


@TRAINER_REGISTRY.register()
class RESTORE_p(Restore, PromptSRC):
    """RESTORE on PromptSRC's independent prompts, whose consistency terms see the corrected features.

    `GPA_MEAN` and `GPA_STD` are given for PromptSRC's own 20 epochs; the mean is scaled to the run's epochs
    (15 of 20 becomes 7.5 of 10). The authors released nothing of RESTORE_p, so `VARIANT` is "paper".
    """

    node = "RESTORE_P"
    learns = (*PromptSRC.learns, "text_surgery", "image_surgery", "text_alpha", "image_alpha")
    training_only = (*Restore.training_only, *PromptSRC.training_only)
    defaults = {**PromptSRC.defaults, **OPTIONS}

    def check_options(self, options: CfgNode) -> None:
        """No released reading of this method exists."""
        if options.VARIANT == "released":
            raise ValueError("RESTORE_p was never released, so VARIANT is paper; RESTORE_m has both readings.")
        super().check_options(options)

    def gaussian(self) -> tuple[float, float]:
        """PromptSRC's mean of 20 epochs, scaled to this run's."""
        mean, std = super().gaussian()
        return mean * self.max_epoch / 20, std
