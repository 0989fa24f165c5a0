"""RESTORE: feature-shift consistency and surgery (arXiv 2403.06136), on MaPLe's and on PromptSRC's prompts.

RESTORE_m is MaPLe's prompts, plus L^fs, plus surgery; RESTORE_p is PromptSRC's prompts, losses and average, plus both.
`VARIANT` "paper" measures the shift of features (Eq. 6); "released" is the reading of the authors' code: Gram norms of
prompts (`promptclip.gram_shift`), QuickGELU, and ratios ALPHA_IMAGE, ALPHA_TEXT that grow once.
"""

from collections.abc import Iterable
from typing import Any

from clip.model import CLIP

from promptclip.gram_shift import GramShift, mean_gram_norms
from promptclip.learner import CROSS_ENTROPY, Loss, PromptLearner, weighted
from promptclip.prompts import Prompts
from promptclip.shift import SUMMED_SHIFT, ShiftScale, shift_loss
from promptclip.surgery import ACTIVATIONS, FeatureSurgery
from trainers import feature_shift, maple, promptsrc
from trainers.method import Method, Option, Options, Setup, register


def _paper_only(options: Options) -> str:
    return "VARIANT released does not use it" if options.VARIANT == "released" else ""


def _surgery_only(options: Options) -> str:
    return "SURGERY none does not use it" if options.SURGERY == "none" else ""


def _guided_only(options: Options) -> str:
    unguided = "" if options.SURGERY == "fs_guided" else f"SURGERY {options.SURGERY} does not use it"
    return _paper_only(options) or unguided


def _measured_only(options: Options) -> str:
    unmeasured = "no shift is measured (FS_WEIGHT 0, SURGERY not fs_guided)"
    return _paper_only(options) or ("" if _measures_shift(options) else unmeasured)


def _paper_surgery_only(options: Options) -> str:
    return _paper_only(options) or _surgery_only(options)


OPTIONS = {
    "VARIANT": Option("paper", "whose reading: paper or the authors' code", ("paper", "released"), decides_test=True),
    "FS_WEIGHT": feature_shift.FS_WEIGHT,
    "SHIFT_NORM": Option(
        "rms", feature_shift.SHIFT_NORM.help, feature_shift.SHIFT_NORM.choices, ignored=_measured_only
    ),
    "SHIFT_GRADIENT": Option(
        "both",
        "of L^fs: through both passes (Eq. 6-10), or, faster, through that with prompts alone",
        ("both", "prompted"),
        ignored=_measured_only,
    ),
    "SURGERY": Option(
        "fs_guided",
        "none; fixed: alpha stays ALPHA_*; fs_guided: the shift sets alpha (Eq. 11)",
        ("none", "fixed", "fs_guided"),
    ),
    "ALPHA_IMAGE": Option(0.1, "strength of image surgery at the start", low=0, ignored=_surgery_only),
    "ALPHA_TEXT": Option(0.1, "strength of text surgery at the start", low=0, ignored=_surgery_only),
    "GAMMA": Option(0.0, "alpha_image over the summed shift; 0: starts at ALPHA_IMAGE", low=0, ignored=_guided_only),
    "BETA": Option(0.0, "alpha_text over the summed shift; 0: starts at ALPHA_TEXT", low=0, ignored=_guided_only),
    "ALPHA_MOMENTUM": Option(
        0.9, "weight of the past in alpha's running mean over steps", low=0, high=1, ignored=_guided_only
    ),
    "SURGERY_ACT": Option("relu", "activation of surgery", ACTIVATIONS, decides_test=True, ignored=_paper_surgery_only),
    "SURGERY_ZERO_INIT": Option(True, "start from the uncorrected model", ignored=_paper_surgery_only),
}
LEARNS = ("text_surgery", "image_surgery")


def _measures_shift(options: Options) -> bool:
    """Whether a training step measures the features' shift: for its loss, or to guide surgery."""
    return options.VARIANT == "paper" and (options.FS_WEIGHT > 0 or options.SURGERY == "fs_guided")


def shift_scale(setup: Setup) -> ShiftScale | None:
    """How the shift is measured, where it is."""
    options = setup.options
    if not _measures_shift(options):
        return None
    return ShiftScale.of(setup.clip.model, options.SHIFT_NORM, constant=options.SHIFT_GRADIENT == "prompted")


def surgery(setup: Setup) -> FeatureSurgery | None:
    """Surgery of either modality (Eq. 11); None with SURGERY none."""
    options = setup.options
    if options.SURGERY == "none":
        return None
    released = options.VARIANT == "released"
    return FeatureSurgery(
        setup.clip.model.text_projection.shape[1],
        image=(options.ALPHA_IMAGE, options.GAMMA),
        text=(options.ALPHA_TEXT, options.BETA),
        momentum=options.ALPHA_MOMENTUM,
        guided=options.SURGERY == "fs_guided",
        activation="quickgelu" if released else options.SURGERY_ACT,
        zero=not released and options.SURGERY_ZERO_INIT,
    )


def shows(options: Options, corrections: FeatureSurgery | None) -> dict[str, Any]:
    """For the training line: the summed shift, and the strength of surgery."""
    summed = SUMMED_SHIFT if _measures_shift(options) else {}
    return summed | (corrections.strengths() if corrections is not None else {})


def build_m(setup: Setup) -> PromptLearner:
    """MaPLe's prompts, plus L^fs, plus surgery."""
    options = setup.options
    if options.VARIANT == "released":
        return build_released(setup)
    prompts, corrections = maple.prompts(setup), surgery(setup)
    return PromptLearner(
        prompts,
        CROSS_ENTROPY | weighted("fs", options.FS_WEIGHT, shift_loss),
        shift_scale=shift_scale(setup),
        corrections=corrections,
        shows=shows(options, corrections),
    )


def build_p(setup: Setup) -> PromptLearner:
    """PromptSRC's prompts, losses and average, plus L^fs, plus surgery; its losses see the corrected features.

    GPA_MEAN is given for PromptSRC's own 20 epochs and scaled to the run's (15 of 20 becomes 7.5 of 10).
    """
    options = setup.options
    prompts, corrections = promptsrc.prompts(setup), surgery(setup)
    learned = [prompts] if corrections is None else [prompts, corrections]
    mean, std = float(options.GPA_MEAN) * setup.epochs / 20, float(options.GPA_STD)
    average = promptsrc.GaussianAverage(*learned, mean=mean, std=std)
    return PromptLearner(
        prompts,
        promptsrc.losses(options) | weighted("fs", options.FS_WEIGHT, shift_loss),
        teacher=promptsrc.FrozenTeacher(setup),
        shift_scale=shift_scale(setup),
        corrections=corrections,
        carried={"average": average},
        after_epoch=[average.after_epoch],
        shows=shows(options, corrections),
    )


def build_released(setup: Setup) -> PromptLearner:
    """MaPLe's prompts, plus the released code's estimate of L^fs, plus surgery whose strength grows once."""
    options = setup.options
    prompts, corrections = maple.prompts(setup), surgery(setup)
    gram_shift = GramShift(options.PROMPT_DEPTH)

    def grow(epoch: int, epochs: int) -> None:
        """After the epoch with index MAX_EPOCH // 3, the ratios grow with the prompts' norms."""
        if corrections is not None and corrections.guided and epoch == epochs // 3:
            text, image = mean_gram_norms(Prompts(prompts.text(), prompts.vision()))
            corrections.text_alpha.value += 0.02 * text
            corrections.image_alpha.value += 0.005 * image

    return PromptLearner(
        prompts,
        CROSS_ENTROPY | {"fs": Loss(options.FS_WEIGHT, lambda output, labels: gram_shift(output.prompts))},
        corrections=corrections,
        carried={"gram_shift": gram_shift},
        after_epoch=[grow],
        shows=shows(options, corrections),
    )


def recognise(names: Iterable[str]) -> dict[str, Any]:
    """The variant of a checkpoint, by its names: the authors', or our own with the released code's estimate."""
    released = any("_adapter.FFN." in name or name.startswith("gram_shift.") for name in names)
    return {"VARIANT": "released"} if released else {}


def check_p(options: Options, backbone: CLIP) -> None:
    """As PromptSRC's; no released reading of this method exists."""
    if options.VARIANT == "released":
        raise ValueError("RESTORE_p was never released, so VARIANT is paper; RESTORE_m has both readings.")
    promptsrc.check(options, backbone)


register(
    Method(
        name="RESTORE_m",
        summary="MaPLe's prompts, plus feature-shift consistency, plus surgery (arXiv 2403.06136)",
        options=maple.OPTIONS | OPTIONS,
        build=build_m,
        check=maple.check,
        node="RESTORE_M",
        folder="MultiModalPromptLearner",
        learns=maple.LEARNS + LEARNS,
        needs_vit=True,
        unused=("shift_scale",),
        recognise=recognise,
    )
)
register(
    Method(
        name="RESTORE_p",
        summary="PromptSRC's prompts, plus feature-shift consistency, plus surgery (arXiv 2403.06136)",
        options=promptsrc.OPTIONS | OPTIONS,
        build=build_p,
        check=check_p,
        node="RESTORE_P",
        folder="VLPromptLearner",
        learns=promptsrc.LEARNS + LEARNS,
        needs_vit=True,
        unused=("shift_scale",),
    )
)
