"""CoCoOp: a context conditioned on each image (arXiv 2203.05557)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from promptclip.learner import CROSS_ENTROPY, PromptLearner
from promptclip.prompts import Context
from trainers import coop
from trainers.method import Method, Setup, register


class MetaNet(nn.Module):
    """Bottleneck from an image feature (B, D) to a shift of the context (B, width); hidden size D / 16."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(features, features // 16)
        self.linear2 = nn.Linear(features // 16, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(torch.relu(self.linear1(x)))


class ConditionedContext(Context):
    """Context plus what the meta-net makes of an image (Eq. 2-3: v_m(x) = v_m + pi, pi = h(x)).

    Args:
        context: the context alone.
        features: D, the width of the image features.
    """

    per_image = True

    def __init__(self, context: Context, features: int) -> None:
        super().__init__(context.ctx, context.words, context.position)
        self.meta_net = MetaNet(features, context.ctx.shape[-1])

    def text(self, image: Tensor | None = None) -> list[Tensor]:
        """One context (B, n, width) for each of B image features (B, D)."""
        if image is None:
            raise ValueError("CoCoOp's context depends on the image: give the image features.")
        return [self.ctx + self.meta_net(F.normalize(image, dim=-1).float())[:, None]]


def build(setup: Setup) -> PromptLearner:
    """Context and meta-net, trained with cross-entropy; one text pass per image, the image tower is unprompted."""
    prompts = ConditionedContext(coop.context(setup), setup.clip.model.text_projection.shape[1])
    return PromptLearner(prompts, CROSS_ENTROPY)


register(
    Method(
        name="CoCoOp",
        summary="a context conditioned on each image (arXiv 2203.05557)",
        options=coop.CONTEXT,
        build=build,
        check=coop.check,
        node="COCOOP",
        learns=("ctx", "meta_net"),
    )
)
