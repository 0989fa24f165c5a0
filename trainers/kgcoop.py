"""KgCoOp: CoOp held near the features of a hand-written template (arXiv 2303.13283)."""

from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional as F

from promptclip.class_texts import fill
from promptclip.learner import CROSS_ENTROPY, Loss, Output, PromptLearner
from promptclip.model import PromptedCLIP
from trainers import coop
from trainers.method import Method, Option, Setup, register


class TemplateFeatures(nn.Module):
    """The teacher: (K, D) normalised features of the generic template, whatever the image."""

    text: Tensor

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        texts = fill(setup.dataset_template("generic"), setup.classnames)
        self.register_buffer("text", F.normalize(setup.clip.encode_texts(texts), dim=-1), persistent=False)

    def forward(self, clip: PromptedCLIP, images: Tensor, image_features: Tensor) -> Tensor:
        return self.text


def distance_to_template(output: Output, labels: Tensor) -> Tensor:
    """1 - mean over classes of cos(t_c, t0_c), t0 the generic template's features (Eq. 4-5)."""
    return 1 - (F.normalize(output.text, dim=-1) * output.teacher).sum(-1).mean()


def build(setup: Setup) -> PromptLearner:
    """A context, trained with cross-entropy + W * distance to the template."""
    losses = CROSS_ENTROPY | {"kg": Loss(setup.options.W, distance_to_template)}
    return PromptLearner(coop.context(setup), losses, teacher=TemplateFeatures(setup))


register(
    Method(
        name="KgCoOp",
        summary="CoOp held near the features of a hand-written template (arXiv 2303.13283)",
        options=coop.CONTEXT
        | {
            "N_CTX": replace(coop.CONTEXT["N_CTX"], default=4),
            "CTX_INIT": replace(coop.CONTEXT["CTX_INIT"], default="a photo of a"),
            "W": Option(1.0, "weight of the distance to the template's features", low=0),
        },
        build=build,
        check=coop.check,
        node="KGCOOP",
        learns=("ctx",),
        unused=("bias_vectors", "meta_net"),  # in the reference's published files, without effect
    )
)
