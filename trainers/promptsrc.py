"""PromptSRC: independent prompts regularised by frozen CLIP and averaged over training (arXiv 2307.06948)."""

from typing import NamedTuple

import torch
from clip.model import CLIP
from torch import Tensor, nn
from torch.nn import functional as F

from promptclip.class_texts import fill
from promptclip.learner import CROSS_ENTROPY, Loss, Output, PromptLearner, at_least_single, cosine_logits
from promptclip.model import PromptedCLIP
from trainers import independent
from trainers.independent import prompts
from trainers.method import Method, Option, Options, Setup, register
from trainers.templates import tables

OPTIONS = (
    independent.tower_options("VISION", 4, 9)
    | independent.tower_options("TEXT", 4, 9)
    | independent.COMMON
    | {
        "TEXT_LOSS_WEIGHT": Option(25, "weight of mean |t - t0| over the normalised text features (Eq. 3)", low=0),
        "IMAGE_LOSS_WEIGHT": Option(10, "weight of mean |x - x0| over the normalised image features (Eq. 3)", low=0),
        "GPA_MEAN": Option(15, "mean of the Gaussian that weighs the epochs' prompts, in epochs from 1 (Eq. 6)"),
        "GPA_STD": Option(1, "standard deviation of that Gaussian, in epochs", above=0),
    }
)
LEARNS = independent.TEXT + independent.VISION


def check(options: Options, backbone: CLIP) -> None:
    """Both towers prompted."""
    independent.check(options, backbone)
    if (0, 0) in (independent.size_of(options, "TEXT"), independent.size_of(options, "VISION")):
        raise ValueError("PromptSRC prompts both towers: set N_CTX_* and PROMPT_DEPTH_* of both above 0.")


class Lesson(NamedTuple):
    """What frozen CLIP says of a batch: normalised features (B, D) and (K, D), log probabilities (B, K)."""

    image: Tensor
    text: Tensor
    log_probabilities: Tensor


class FrozenTeacher(nn.Module):
    """Frozen CLIP on the same augmented images; its text features are the mean of raw features over 60 templates."""

    text: Tensor

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        texts = [fill(template, setup.classnames) for template in tables()["promptsrc_60"]]
        features = sum((setup.clip.encode_texts(one) for one in texts), torch.tensor(0.0)) / len(texts)
        self.register_buffer("text", F.normalize(features, dim=-1), persistent=False)

    def forward(self, clip: PromptedCLIP, images: Tensor, image_features: Tensor) -> Lesson:
        image = F.normalize(clip.encode_image(images).features, dim=-1)
        logits = cosine_logits(image, self.text, clip.model.logit_scale)
        return Lesson(image, self.text, at_least_single(logits).log_softmax(-1))


def text_distance(output: Output, labels: Tensor) -> Tensor:
    """Mean |t - t0| over all entries of the normalised text features (Eq. 3)."""
    return (F.normalize(output.text, dim=-1) - output.teacher.text).abs().mean()


def image_distance(output: Output, labels: Tensor) -> Tensor:
    """Mean |x - x0| over all entries of the normalised image features (Eq. 3)."""
    return (F.normalize(output.image, dim=-1) - output.teacher.image).abs().mean()


def divergence(output: Output, labels: Tensor) -> Tensor:
    """KL divergence of the teacher's prediction from the student's, mean over all B * K entries (Eq. 4)."""
    ours, teacher = output.logits.log_softmax(-1), output.teacher.log_probabilities
    return F.kl_div(ours, teacher, reduction="sum", log_target=True) / output.logits.numel()


def losses(options: Options) -> dict[str, Loss]:
    """Cross-entropy and the three terms that hold the prompts near frozen CLIP."""
    return CROSS_ENTROPY | {
        "text": Loss(options.TEXT_LOSS_WEIGHT, text_distance),
        "image": Loss(options.IMAGE_LOSS_WEIGHT, image_distance),
        "kl": Loss(1, divergence),
    }


class GaussianAverage(nn.Module):
    """Gaussian-weighted sum of what is learned after each epoch, which at the end becomes the model (Eq. 6).

    It is part of the checkpoint, so that runs resume. Only what is learned is averaged: the reference averages frozen
    CLIP along with it, which in exact arithmetic changes nothing and in fp16 perturbs it.

    Args:
        learned: the modules whose parameters are averaged.
        mean, std: of the Gaussian, in epochs counted from 1.
    """

    def __init__(self, *learned: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self._learned, self.mean, self.std = learned, mean, std  # a tuple: its modules are not this one's parts
        for name, parameter in self._parameters_by_name().items():
            self.register_buffer(name, torch.zeros_like(parameter))

    @property
    def training_only(self) -> tuple[str, ...]:
        """All of it."""
        return tuple(self._parameters_by_name())

    def _parameters_by_name(self) -> dict[str, nn.Parameter]:
        """What is averaged, under names that a buffer can have."""
        pairs = [pair for module in self._learned for pair in module.named_parameters()]
        return {name.replace(".", "-"): parameter for name, parameter in pairs}

    def weights(self, epochs: int) -> Tensor:
        """(epochs,) weights of the epochs, which add up to 1, float64."""
        numbers = torch.arange(1, epochs + 1, dtype=torch.double)
        return (-(numbers - self.mean).square() / (2 * self.std * self.std)).softmax(0)

    @torch.no_grad()
    def after_epoch(self, epoch: int, epochs: int) -> None:
        """Add the 0-based epoch's prompts; after the last one of `epochs`, the sum becomes the model."""
        weight = self.weights(epochs)[epoch].item()
        learned = self._parameters_by_name()
        for name, parameter in learned.items():
            self.get_buffer(name).add_(parameter, alpha=weight)
        if epoch + 1 == epochs:
            print("Using the Gaussian average of the prompts as the final model")
            for name, parameter in learned.items():
                parameter.copy_(self.get_buffer(name))


def build(setup: Setup) -> PromptLearner:
    """Independent prompts, held near frozen CLIP and averaged over the epochs."""
    options, learned = setup.options, prompts(setup)
    average = GaussianAverage(learned, mean=float(options.GPA_MEAN), std=float(options.GPA_STD))
    return PromptLearner(
        learned,
        losses(options),
        teacher=FrozenTeacher(setup),
        carried={"average": average},
        after_epoch=[average.after_epoch],
    )


register(
    Method(
        name="PromptSRC",
        summary="independent prompts held near frozen CLIP and averaged over training (arXiv 2307.06948)",
        options=OPTIONS,
        build=build,
        check=check,
        node="PROMPTSRC",
        folder="VLPromptLearner",
        learns=LEARNS,
        needs_vit=True,
    )
)
