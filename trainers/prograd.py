"""ProGrad: CoOp whose gradient never works against zero-shot CLIP's knowledge (arXiv 2205.14865)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from promptclip.class_texts import fill
from promptclip.learner import CROSS_ENTROPY, Gradients, Loss, Output, PromptLearner, cosine_logits
from promptclip.model import PromptedCLIP
from trainers import coop
from trainers.method import Method, Option, Setup, register


class ZeroshotPrediction(nn.Module):
    """The teacher: zero-shot CLIP's probabilities (B, K) with the generic template, at a temperature."""

    text: Tensor

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.temperature = setup.options.T
        texts = fill(setup.dataset_template("generic"), setup.classnames)
        self.register_buffer("text", setup.clip.encode_texts(texts), persistent=False)

    def forward(self, clip: PromptedCLIP, images: Tensor, image_features: Tensor) -> Tensor:
        logits = cosine_logits(image_features, self.text, clip.model.logit_scale)
        return (logits / self.temperature).softmax(-1)


def distillation(temperature: float) -> Callable[[Output, Tensor], Tensor]:
    """Cross-entropy against the teacher's prediction, times the square of the temperature."""

    def loss(output: Output, labels: Tensor) -> Tensor:
        log_probabilities = (output.logits / temperature).log_softmax(-1)
        return -(output.teacher * log_probabilities).sum(-1).mean() * temperature * temperature

    return loss


def without_conflict(strength: float) -> Gradients:
    """Cross-entropy's gradient g, less `strength` times its part against the distillation's gradient k (Eq. 4).

    Both losses are scaled alike before their backward passes, and the projection is linear in that scale, so a
    gradient scaler finds what it expects.
    """

    def gradients(
        losses: dict[str, Tensor], parameters: Sequence[nn.Parameter], scale: Callable[[Tensor], Tensor]
    ) -> Tensor:
        ours = torch.autograd.grad(scale(losses["xe_loss"]), parameters, retain_graph=True)
        theirs = torch.autograd.grad(scale(losses["kl_loss"]), parameters)
        for parameter, g, k in zip(parameters, ours, theirs, strict=True):
            direction = k / k.norm().clamp_min(torch.finfo(k.dtype).tiny)
            conflict = (g * direction).sum().clamp(max=0)
            parameter.grad = g - strength * conflict * direction
        return losses["xe_loss"]

    return gradients


def build(setup: Setup) -> PromptLearner:
    """A context; the gradient of cross-entropy, without what conflicts with the teacher."""
    options = setup.options
    return PromptLearner(
        coop.context(setup),
        {"xe_loss": CROSS_ENTROPY["ce"], "kl_loss": Loss(1, distillation(options.T))},
        teacher=ZeroshotPrediction(setup),
        gradients=without_conflict(options.LAMBDA),
    )


register(
    Method(
        name="ProGrad",
        summary="CoOp whose gradient never works against zero-shot CLIP's (arXiv 2205.14865)",
        options=coop.CONTEXT
        | {
            "T": Option(1.0, "temperature of the distillation", above=0),
            "LAMBDA": Option(1.0, "share of the conflicting part that is removed", low=0),
        },
        build=build,
        check=coop.check,
        node="PROGRAD",
        learns=("ctx",),
    )
)
