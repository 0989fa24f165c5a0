"""ProGrad: CoOp whose gradient never works against zero-shot CLIP's knowledge (arXiv 2205.14865)."""

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from torch.nn import functional as F

from trainers.coop import CoOp
from trainers.prompt_trainer import Features
from trainers.templates import dataset_template, fill


@TRAINER_REGISTRY.register()
class ProGrad(CoOp):
    """Cross-entropy's gradient, less its part against the gradient of the distillation loss (Eq. 4).

    `T`: temperature of the distillation; `LAMBDA`: how much of the conflicting part is removed. The template and
    the teacher's features are the generic ones. Context at random, as the reference trains it.
    """

    node = "PROGRAD"
    defaults = {"N_CTX": 16, "CTX_INIT": "", "PREC": "fp16", "T": 1.0, "LAMBDA": 1.0}

    def prepare(self) -> None:
        """The teacher's text features (K, D)."""
        self.template_features = self.clip.encode_texts(fill(dataset_template(self.cfg, "generic"), self.classnames))

    def losses(self, features: Features, logits: Tensor, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """`xe_loss`, cross-entropy, and `kl_loss`, cross-entropy against the zero-shot prediction."""
        t = self.options.T
        with torch.no_grad():
            teacher = (self.clip.logits(features.image, self.template_features).float() / t).softmax(-1)
        distilled = -(teacher * (logits / t).log_softmax(-1)).sum(-1).mean() * t * t
        return {"xe_loss": F.cross_entropy(logits, labels), "kl_loss": distilled}

    def backward(self, losses: dict[str, Tensor]) -> Tensor:
        """Two gradients, the conflicting part taken out; shows the cross-entropy."""
        parameters = list(self.learner.parameters())
        ours = torch.autograd.grad(losses["xe_loss"], parameters, retain_graph=True)
        theirs = torch.autograd.grad(losses["kl_loss"], parameters)
        for parameter, g, k in zip(parameters, ours, theirs, strict=True):
            direction = k / k.norm().clamp_min(torch.finfo(k.dtype).tiny)
            conflict = (g * direction).sum().clamp(max=0)
            parameter.grad = g - self.options.LAMBDA * conflict * direction
        return losses["xe_loss"]
