"""TCP: a context, and from text block 8 on prompts a class made of plain CLIP's feature of it (arXiv 2311.18231).

The reference gives its weight of the knowledge term, 8, as a literal and ignores its option W; here W is that weight.
Its Adam needs an epsilon of 1e-3 (OPTIM.ADAM_EPS), which its users are told to write into Dassl by hand.
"""

from clip.model import CLIP
from torch import Tensor
from torch.nn import functional as F

from promptclip.class_aware import ClassAwareTokens, TemplateContext
from promptclip.learner import CROSS_ENTROPY, Loss, Output, PromptLearner
from promptclip.prompts import blocks, text_width
from trainers.method import PREC, Method, Option, Options, Setup, register, within_backbone

OPTIONS = {
    "N_CTX": Option(4, "learned context tokens, and tokens a class", low=1),
    "W": Option(8.0, "weight of 1 - cos(t, plain CLIP's t)", low=0),
    "BLOCK": Option(8, "text block, from 0, at whose input tokens a class are put", low=1, decides_test=True),
    "PREC": PREC,
}


def check(options: Options, backbone: CLIP) -> None:
    """Block and context within the text tower."""
    within_backbone("BLOCK", options.BLOCK, 1, blocks(backbone)[0] - 1)
    within_backbone("N_CTX", options.N_CTX, 1, backbone.context_length - 3)


def knowledge(output: Output, labels: Tensor) -> Tensor:
    """1 - mean over classes of cos(t, c), c plain CLIP's feature of the class (Eq. 9)."""
    known = output.classes.known if output.classes is not None else None
    if known is None:
        raise ValueError("The classes have no plain CLIP features.")
    return 1 - F.cosine_similarity(output.text, known.to(output.text.dtype), dim=-1).mean()


def build(setup: Setup) -> PromptLearner:
    """Context and class-aware tokens, trained with cross-entropy + W * distance to plain CLIP's text features."""
    options, model = setup.options, setup.clip.model
    width, features = text_width(model), model.text_projection.shape[1]
    template = setup.dataset_template("tcp_context")
    words = template.removeprefix("X X X X")
    template = f"{' '.join(['X'] * options.N_CTX)}{words}" if words != template else template
    return PromptLearner(
        TemplateContext(options.N_CTX, width, template),
        CROSS_ENTROPY | {"knowledge": Loss(options.W, knowledge)},
        changes=ClassAwareTokens(features, width, options.N_CTX, options.BLOCK, setup.dataset_template("tcp")),
    )


register(
    Method(
        name="TCP",
        summary="prompts a class made of CLIP's knowledge of it (arXiv 2311.18231)",
        options=OPTIONS,
        build=build,
        check=check,
        node="TCP",
        learns=("ctx", "meta_net"),
    )
)
