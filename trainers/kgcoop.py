"""KgCoOp: CoOp held near the features of a hand-written template (arXiv 2303.13283)."""

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from torch.nn import functional as F

from trainers.coop import CoOp
from trainers.prompt_trainer import Features
from trainers.templates import dataset_template, fill


@TRAINER_REGISTRY.register()
class KgCoOp(CoOp):
    """Cross-entropy + W * (1 - mean over classes of cos(t_c, t0_c)), t0 the generic template's features (Eq. 4-5).

    The reference's published files also hold `bias_vectors` and an unused `meta_net`; they are ignored.
    """

    node = "KGCOOP"
    unused = ("bias_vectors", "meta_net")
    defaults = {"N_CTX": 4, "CTX_INIT": "a photo of a", "PREC": "fp16", "W": 1.0}

    def prepare(self) -> None:
        """Features (K, D) of the template, normalised."""
        texts = fill(dataset_template(self.cfg, "generic"), self.classnames)
        self.template_features = F.normalize(self.clip.encode_texts(texts), dim=-1)

    def losses(self, features: Features, logits: Tensor, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """`ce` and the knowledge-guided term `kg`."""
        cosine = (F.normalize(features.text, dim=-1) * self.template_features).sum(-1)
        return super().losses(features, logits, images, labels) | {"kg": self.options.W * (1 - cosine.mean())}
