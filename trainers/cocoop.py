"""CoCoOp: a context conditioned on each image (arXiv 2203.05557)."""

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from promptclip import FeatureShift
from trainers.coop import Context, CoOp
from trainers.prompt_trainer import Features

TOKENS_AT_ONCE = 65_536  # text tokens of one evaluation pass, which bounds its memory
SHIFT_IMAGES = 8  # images whose contexts the shift is measured on: each takes a text pass of its own


class MetaNet(nn.Module):
    """Bottleneck from an image feature (B, D) to a shift of the context (B, width); hidden size D / 16."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(features, features // 16)
        self.linear2 = nn.Linear(features // 16, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(torch.relu(self.linear1(x)))


class ConditionedContext(Context):
    """Context plus what the meta-net makes of an image (Eq. 2-3: v_m(x) = v_m + pi, pi = h(x))."""

    def __init__(self, ctx: nn.Parameter, features: int) -> None:
        super().__init__(ctx)
        self.meta_net = MetaNet(features, ctx.shape[-1])

    def conditioned(self, image_features: Tensor) -> Tensor:
        """One context (B, n, width) for each of B image features (B, D)."""
        return self.ctx + self.meta_net(F.normalize(image_features, dim=-1).float())[:, None]


@TRAINER_REGISTRY.register()
class CoCoOp(CoOp):
    """Cross-entropy with one text pass per image; the image tower is frozen and unprompted."""

    node = "COCOOP"
    per_image = True
    learns = ("ctx", "meta_net")
    defaults = {"N_CTX": 16, "CTX_INIT": "", "PREC": "fp16"}

    def learner_of(self, ctx: nn.Parameter) -> nn.Module:
        """Context and meta-net."""
        return ConditionedContext(ctx, self.backbone.text_projection.shape[1])

    def encode(self, images: Tensor) -> Features:
        """Image features (B, D) and each image's own text features (B, K, D)."""
        image, _ = self.clip.encode_image(images)
        text, _ = self.clip.encode_text(self.layout, [self.learner.conditioned(image)])
        return Features(image, text)

    def test_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """As in training."""
        features = self.encode(images)
        return features.image, features.text

    def model_inference(self, images: Tensor) -> Tensor:
        """Logits (B, K), a few images' text passes at a time."""
        chunk = max(1, TOKENS_AT_ONCE // len(self.layout.ids))
        with self.precision.autocast():
            parts = [self.test_features(part) for part in images.split(chunk)]
            for features in parts:
                self.tell("features_made", *features)
            return torch.cat([self.clip.logits(*features) for features in parts]).float()

    @torch.no_grad()
    def text_shift(self, images: Tensor) -> FeatureShift:
        """Shift of the text tower on the run's classes, a mean over the contexts of a few images."""
        few = images[: max(1, min(SHIFT_IMAGES, TOKENS_AT_ONCE // (2 * len(self.layout.ids))))]
        with self.precision.autocast():
            contexts = self.learner.conditioned(self.clip.encode_image(few)[0])
            return self.clip.encode_text(self.layout, [contexts], True)[1]
