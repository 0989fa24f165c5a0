"""MMRL: representation tokens in the upper blocks of both towers, and a second image feature (arXiv 2503.08497).

Classes trained on are told by both features, others by the class token alone (the reference's task B2N; its FS and CD
come to the same, since there all names, or none, were trained on). The reference keeps text features of its first
evaluation for good; here none are stale.
"""

from clip.model import CLIP
from torch import Tensor, nn
from torch.nn import functional as F

from promptclip.class_texts import fill
from promptclip.inserted import RepresentationHead, RepresentationTokens
from promptclip.learner import Loss, Output, PromptLearner
from promptclip.model import PromptedCLIP
from promptclip.prompts import blocks, text_width, vision_width
from promptclip.trained_prompts import TrainedPrompts
from trainers.method import LOGIT_SCALE, PREC, Method, Option, Options, Setup, register, within_backbone

WEIGHTS = {
    "StanfordCars": 7.0,
    "FGVCAircraft": 6.0,
    "SUN397": 6.0,
    "DescribableTextures": 6.0,
    "Food101": 5.0,
    "OxfordFlowers": 4.0,
    "UCF101": 3.0,
    "ImageNet": 0.5,
    "Caltech101": 0.5,
    "OxfordPets": 0.2,
    "EuroSAT": 0.01,
}
"""The reference's REG_WEIGHT of each data set, which it writes over its yaml files'."""
ELSEWHERE = 0.2  # the reference's for cross-data-set runs

OPTIONS = {
    "ALPHA": Option(0.7, "share of the class token in loss and logits", low=0, high=1, decides_test=True),
    "REG_WEIGHT": Option(-1.0, "weight of either distance to plain CLIP; -1: the data set's own", low=-1),
    "FIRST_LAYER": Option(6, "first block with representation tokens, from 1; all above have them", low=2),
    "REP_DIM": Option(0, "width of a representation token; 0: 512, for EuroSAT 2048", low=0),
    "N_REP_TOKENS": Option(5, "representation tokens", low=1),
    "LOGIT_SCALE": LOGIT_SCALE,
    "PREC": PREC,
}


def check(options: Options, backbone: CLIP) -> None:
    """Layers within both towers."""
    within_backbone("FIRST_LAYER", options.FIRST_LAYER, 2, min(blocks(backbone)))


class PlainFeatures(nn.Module):
    """The teacher: plain CLIP's normalised features of the same images and of the same texts."""

    text: Tensor

    def __init__(self, clip: PromptedCLIP, texts: list[str]) -> None:
        super().__init__()
        self.register_buffer("text", F.normalize(clip.encode_texts(texts), dim=-1), persistent=False)

    def forward(self, clip: PromptedCLIP, images: Tensor, image_features: Tensor) -> tuple[Tensor, Tensor]:
        return F.normalize(clip.encode_image(images).features, dim=-1), self.text


def image_distance(output: Output, labels: Tensor) -> Tensor:
    """1 - mean over images of cos(x, x0) (Eq. 12)."""
    return 1 - (F.normalize(output.image, dim=-1) * output.teacher[0]).sum(-1).mean()


def text_distance(output: Output, labels: Tensor) -> Tensor:
    """1 - mean over classes of cos(t, t0) (Eq. 13)."""
    return 1 - (F.normalize(output.text, dim=-1) * output.teacher[1]).sum(-1).mean()


def build(setup: Setup) -> PromptLearner:
    """Tokens and second projection, trained with both features' cross-entropy and two distances to plain CLIP."""
    options, model = setup.options, setup.clip.model
    template = setup.dataset_template()
    weight = WEIGHTS.get(setup.dataset, ELSEWHERE) if options.REG_WEIGHT < 0 else options.REG_WEIGHT
    dim = options.REP_DIM or (2048 if setup.dataset == "EuroSAT" else 512)
    layers = range(options.FIRST_LAYER, min(blocks(model)) + 1)
    tokens = RepresentationTokens(text_width(model), vision_width(model), options.N_REP_TOKENS, dim, layers)
    head = RepresentationHead(vision_width(model), model.text_projection.shape[1], options.ALPHA, setup.logit_scale())

    def ce(output: Output, labels: Tensor) -> Tensor:
        """Cross-entropy by the class token."""
        return F.cross_entropy(head.main(output.image, output.text).float(), labels)

    def ce_rep(output: Output, labels: Tensor) -> Tensor:
        """Cross-entropy by the representation tokens."""
        return F.cross_entropy(head.representation(output.tokens, output.text).float(), labels)

    return PromptLearner(
        TrainedPrompts(template=template),
        {
            "ce": Loss(options.ALPHA, ce),
            "ce_rep": Loss(1 - options.ALPHA, ce_rep),
            "image_distance": Loss(weight, image_distance),
            "text_distance": Loss(weight, text_distance),
        },
        changes=tokens,
        head=head,
        teacher=PlainFeatures(setup.clip, fill(template, setup.classnames)),
        trained_on=setup.classnames,
    )


register(
    Method(
        name="MMRL",
        summary="representation tokens in both towers and a second image feature (arXiv 2503.08497)",
        options=OPTIONS,
        build=build,
        check=check,
        node="MMRL",
        folder="MultiModalRepresentationLearner",
        learns=("compound_rep_tokens", "compound_rep_tokens_r2vproj", "compound_rep_tokens_r2tproj", "proj_rep"),
        needs_vit=True,
        unused=("prompt_embeddings",),
    )
)
