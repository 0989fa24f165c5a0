"""DePT: beside a host's cosine logits, a linear head on features of its own making (arXiv 2309.07439): on CoOp, on
MaPLe, and on RESTORE_m.

Classes trained on are told by both, others by the host's cosine alone. "Trained on" is decided by the class names; the
reference decides by the configuration, and so takes few-shot runs over all classes for new ones unless the data set is
of ImageNet's family. The host learns at OPTIM.LR, what is new RATE times as fast.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from promptclip.learner import Loss, Output, PromptLearner, at_least_single, cosine_logits
from promptclip.probe import ProbeHead
from trainers import coop, maple, restore
from trainers.method import Method, Option, Setup, register

OPTIONS = {
    "WEIGHT": Option(0.7, "of the linear head, in loss and logits", low=0, high=1, decides_test=True),
    "RATE": Option(6.5, "learning rate of what is new over the host's", above=0),
}
LEARNS = ("film_lp_img", "film_lp_text", "linear_probe_proj")


def with_probe(build: Callable[[Setup], PromptLearner]) -> Callable[[Setup], PromptLearner]:
    """The host that `build` makes, with a linear head; its own losses count 1 - WEIGHT."""

    def build_with_probe(setup: Setup) -> PromptLearner:
        weight = float(setup.options.WEIGHT)
        host = build(setup)
        head = ProbeHead(len(setup.classnames), setup.clip.model.text_projection.shape[1], weight)

        def similarity(output: Output, labels: Tensor) -> Tensor:
            """Cross-entropy of the cosine alone."""
            return F.cross_entropy(
                at_least_single(cosine_logits(output.image, output.text, setup.clip.model.logit_scale)), labels
            )

        rest = {name: loss for name, loss in host.losses.items() if name != "ce"}
        return PromptLearner(
            host.prompts,
            {"ce": Loss((1 - weight) * host.losses["ce"].weight, similarity), "probe": Loss(weight, head.loss)} | rest,
            shift_scale=host.shift_scale,
            corrections=host.corrections,
            carried=host.carried,
            shows=host.shows,
            after_epoch=host.after_epoch,
            head=head,
            trained_on=setup.classnames,
            rates=dict.fromkeys(LEARNS, float(setup.options.RATE)),
        )

    return build_with_probe


register(
    Method(
        name="DePT_CoOp",
        summary="CoOp with a linear head beside it (DePT, arXiv 2309.07439)",
        options={name: option for name, option in coop.OPTIONS.items() if name != "CSC"} | OPTIONS,
        build=with_probe(coop.build),
        check=coop.check,
        node="DEPT_COOP",
        folder="PromptLearner",
        learns=("ctx", *LEARNS),
    )
)
register(
    Method(
        name="DePT_MaPLe",
        summary="MaPLe with a linear head beside it (DePT, arXiv 2309.07439)",
        options=maple.OPTIONS | OPTIONS,
        build=with_probe(maple.build),
        check=maple.check,
        node="DEPT_MAPLE",
        folder="MultiModalPromptLearner",
        learns=(*maple.LEARNS, *LEARNS),
        needs_vit=True,
    )
)
register(
    Method(
        name="DePT_RESTORE_m",
        summary="RESTORE_m with a linear head beside it (DePT, arXiv 2309.07439, on arXiv 2403.06136)",
        options=maple.OPTIONS | restore.OPTIONS | OPTIONS,
        build=with_probe(restore.build_m),
        check=maple.check,
        node="DEPT_RESTORE_M",
        folder="MultiModalPromptLearner",
        learns=(*maple.LEARNS, *restore.LEARNS, *LEARNS),
        needs_vit=True,
        unused=("shift_scale",),
    )
)
