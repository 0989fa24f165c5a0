"""Zero-shot CLIP: the hand-written template of the data set, or an ensemble of templates (arXiv 2103.00020)."""

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from torch.nn import functional as F

from promptclip import PromptedCLIP
from trainers.precision import Precision
from trainers.prompt_trainer import PromptTrainer
from trainers.templates import dataset_template, fill, tables


@TRAINER_REGISTRY.register()
class ZeroshotCLIP(PromptTrainer):
    """CLIP with the data set's template; learns nothing, so `train` goes straight to the test."""

    node = "ZEROSHOT"
    learns = ()

    def build_model(self) -> None:
        """Frozen CLIP and its normalised text features (K, D)."""
        self.classnames = list(self.dm.dataset.classnames)
        precision = Precision(self.options.PREC, self.device)
        self.precision = precision
        self.clip = PromptedCLIP(precision.weights(self.backbone).to(self.device))
        self.text_features = self.class_features()

    def templates(self) -> list[str]:
        """The templates a class is described with."""
        return [dataset_template(self.cfg)]

    def class_features(self) -> Tensor:
        """(K, D) mean of the templates' normalised features, normalised again."""
        features = [self.clip.encode_texts(fill(template, self.classnames)) for template in self.templates()]
        return F.normalize(sum(F.normalize(one, dim=-1) for one in features) / len(features), dim=-1)

    def test_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Image features (B, D) without prompts, and the templates' text features (K, D)."""
        return self.clip.encode_image(images)[0], self.text_features

    def train(self) -> None:
        """Nothing is learned: evaluate."""
        print("Zero-shot CLIP has nothing to train; evaluating it.")
        self.test()


@TRAINER_REGISTRY.register()
class ZeroshotCLIP2(ZeroshotCLIP):
    """CLIP with CoOp's ensemble: seven selected templates, and the data set's own unless that is ImageNet."""

    node = "ZEROSHOT2"

    def templates(self) -> list[str]:
        """Seven templates, or eight."""
        own = [] if self.cfg.DATASET.NAME == "ImageNet" else [dataset_template(self.cfg)]
        return tables()["select_7"] + own
