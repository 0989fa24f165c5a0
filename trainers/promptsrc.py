"""PromptSRC: independent prompts regularised by frozen CLIP and averaged over training (arXiv 2307.06948)."""

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F
from yacs.config import CfgNode

from trainers.independent import IndependentTrainer
from trainers.prompt_trainer import Features
from trainers.templates import fill, tables


class GaussianAverage(nn.Module):
    """Gaussian-weighted sum of the parameters after each epoch (Eq. 6); part of the checkpoint, so runs resume.

    Args:
        learner: the module whose parameters are averaged.
    """

    def __init__(self, learner: nn.Module) -> None:
        super().__init__()
        for name, parameter in learner.named_parameters():
            self.register_buffer(name.replace(".", "-"), torch.zeros_like(parameter))

    @torch.no_grad()
    def add(self, learner: nn.Module, weight: float) -> None:
        """Add `weight` times the parameters."""
        for name, parameter in learner.named_parameters():
            self.get_buffer(name.replace(".", "-")).add_(parameter, alpha=weight)

    @torch.no_grad()
    def load_into(self, learner: nn.Module) -> None:
        """Replace the parameters by the sum."""
        for name, parameter in learner.named_parameters():
            parameter.copy_(self.get_buffer(name.replace(".", "-")))


@TRAINER_REGISTRY.register()
class PromptSRC(IndependentTrainer):
    """Cross-entropy, two L1 consistency terms and a KL term against frozen CLIP, Gaussian prompt aggregation.

    `TEXT_LOSS_WEIGHT`, `IMAGE_LOSS_WEIGHT`: weights of mean |t - t0| and mean |x - x0| over all entries of the
    normalised features (Eq. 3); the KL term (Eq. 4) has weight 1. t0: mean over 60 templates of raw features. Only
    the learnable part is averaged (`GPA_MEAN`, `GPA_STD` in epochs): the reference averages frozen CLIP along with
    it, which in exact arithmetic changes nothing and in fp16 perturbs it.
    """

    node = "PROMPTSRC"
    learns = ("ctx", "text_deep", "vision_ctx", "vision_deep")
    training_only = ("average",)
    needs_vit = True
    defaults = {
        "N_CTX_VISION": 4,
        "N_CTX_TEXT": 4,
        "CTX_INIT": "a photo of a",
        "PREC": "fp16",
        "PROMPT_DEPTH_VISION": 9,
        "PROMPT_DEPTH_TEXT": 9,
        "TEXT_LOSS_WEIGHT": 25,
        "IMAGE_LOSS_WEIGHT": 10,
        "GPA_MEAN": 15,
        "GPA_STD": 1,
    }

    def check_options(self, options: CfgNode) -> None:
        """Both towers prompted, a standard deviation above 0."""
        super().check_options(options)
        if (0, 0) in (self.size_of(options, "TEXT"), self.size_of(options, "VISION")):
            raise ValueError("PromptSRC prompts both towers: set N_CTX_* and PROMPT_DEPTH_* of both above 0.")
        if options.GPA_STD <= 0:
            raise ValueError(f"GPA_STD is {options.GPA_STD}; the Gaussian's standard deviation is above 0 epochs.")

    def complete(self, learner: nn.Module) -> None:
        """Keep the running average of all that is learned."""
        learner.average = GaussianAverage(learner)

    def prepare(self) -> None:
        """The text teacher's features (K, D): mean over 60 templates, normalised."""
        texts = [fill(template, self.classnames) for template in tables()["promptsrc_60"]]
        features = sum(self.clip.encode_texts(one) for one in texts) / len(texts)
        self.teacher_text = F.normalize(features, dim=-1)

    def losses(self, features: Features, logits: Tensor, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """`ce`, `text`, `image` and `kl`."""
        with torch.no_grad():
            teacher_image = F.normalize(self.clip.encode_image(images)[0], dim=-1)
            teacher = self.clip.logits(teacher_image, self.teacher_text).float().log_softmax(-1)
        image, text = F.normalize(features.image, dim=-1), F.normalize(features.text, dim=-1)
        kl = F.kl_div(logits.log_softmax(-1), teacher, reduction="sum", log_target=True) / logits.numel()
        return super().losses(features, logits, images, labels) | {
            "text": self.options.TEXT_LOSS_WEIGHT * (text - self.teacher_text).abs().mean(),
            "image": self.options.IMAGE_LOSS_WEIGHT * (image - teacher_image).abs().mean(),
            "kl": kl,
        }

    def gaussian(self) -> tuple[float, float]:
        """Mean and standard deviation, in epochs counted from 1."""
        return float(self.options.GPA_MEAN), float(self.options.GPA_STD)

    def after_epoch(self) -> None:
        """Add the epoch's prompts to the average; after the last one the average becomes the model."""
        mean, std = self.gaussian()
        epochs = torch.arange(1, self.max_epoch + 1, dtype=torch.double)
        weights = (-(epochs - mean).square() / (2 * std * std)).softmax(0)
        self.learner.average.add(self.learner, weights[self.epoch].item())
        if self.epoch + 1 == self.max_epoch:
            print("Using the Gaussian average of the prompts as the final model")
            self.learner.average.load_into(self.learner)
        super().after_epoch()
