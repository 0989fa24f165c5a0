"""TwoStage (2SFS): the blocks' LayerNorms, then a classifier that starts from the text features (arXiv 2503.11609).

Two quirks of the reference are kept. It puts ln_pre, ln_post and ln_final into its optimiser, but a loop that visits
each of them twice switches their gradient off again, so that they never move: here they are not learned at all. And one
template serves every data set. The first stage has int(FRACTION * MAX_EPOCH) epochs, which with OPTIM.STEPS_PER_SHOT
are shares of the steps that the reference counts, 300 times the shots; each stage has a cosine of its own
(OPTIM.PER_STEP) and begins with a fresh pass.
Classes trained on are told by the classifier's rows, others by the tuned text tower, name by name.
"""

import torch
from clip.model import CLIP
from torch.nn import functional as F

from promptclip.learner import CROSS_ENTROPY, PromptLearner
from promptclip.norms import ClassRowsHead, TrainedNorms
from promptclip.prompts import blocks, text_width, vision_width
from promptclip.trained_prompts import TrainedPrompts
from trainers.method import PREC, Method, Option, Options, Setup, register

OPTIONS = {
    "FRACTION": Option(0.6, "of the epochs that train the LayerNorms", above=0, high=1),
    "TEMPLATE": Option("a photo of a {}.", "of the class texts, the same for every data set", decides_test=True),
    "PREC": PREC,
}


def check(options: Options, backbone: CLIP) -> None:
    """A template with a place for the class name."""
    if "{}" not in options.TEMPLATE:
        raise ValueError(f"TEMPLATE {options.TEMPLATE!r} has no {{}} where the class name goes.")


def build(setup: Setup) -> PromptLearner:
    """LayerNorms of both towers, then a row a class; cross-entropy throughout."""
    model = setup.clip.model
    text, vision = blocks(model)
    norms = TrainedNorms([text, text_width(model)], [vision, vision_width(model)])
    norms.start_from(model)
    head = ClassRowsHead(len(setup.classnames), model.text_projection.shape[1])
    first = max(1, int(setup.options.FRACTION * setup.epochs))

    def settle() -> None:
        """Norms that have learned are left alone."""
        norms.fixed = bool(head.learned)

    @torch.no_grad()
    def begin_second_stage(epoch: int, epochs: int) -> None:
        """After the first stage, the classifier starts from the tuned text tower's features."""
        if epoch + 1 == first:
            classes = learner.classes(setup.clip, setup.classnames)
            head.classifier.copy_(F.normalize(learner.text_features(setup.clip, classes), dim=-1))
            head.learned.fill_(1)

    learner = PromptLearner(
        TrainedPrompts(template=setup.options.TEMPLATE),
        CROSS_ENTROPY,
        changes=norms,
        head=head,
        before_step=[settle],
        after_epoch=[begin_second_stage],
        trained_on=setup.classnames,
        restarts=(first,),
    )
    return learner


register(
    Method(
        name="TwoStage",
        summary="the blocks' LayerNorms, then a classifier (2SFS, arXiv 2503.11609)",
        options=OPTIONS,
        build=build,
        check=check,
        node="TWO_STAGE",
        learns=("text_norms", "visual_norms", "classifier"),
        needs_vit=True,
        graph=False,
    )
)
