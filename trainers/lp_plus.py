"""LP++: a linear classifier of features, mixed with the text features by a learned weight a class (arXiv 2404.02285).

All by full-batch descent with step sizes that follow from the data. Quirks of the reference that its numbers depend on:
the classifier starts from the *sum* of a class's features; and the gradient of the mixing weights is never cleared, so
that every tenth iteration descends the sum of all gradients so far (CLEAR_GRADIENT True: that iteration's own). Of the
iterations the last of those is kept that are best on the validation shots (SELECT_ON).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from promptclip.cache import LinearTextHead
from promptclip.learner import PromptLearner
from promptclip.prompts import PromptModule
from trainers.cached_features import CachedFeatures, Labelled, accuracy
from trainers.method import PREC, Method, Option, Setup, register
from trainers.tip_adapter import SELECT_ON, text_side

OPTIONS = {
    "VIEWS": Option(1, "augmented views a training image; 0: its test-time view", low=0),
    "ITERATIONS": Option(300, "full-batch steps", low=1),
    "CLEAR_GRADIENT": Option(False, "clear the mixing weights' gradient before every iteration"),
    "SELECT_ON": SELECT_ON,
    "PREC": PREC,
}
MOMENTUM, EVERY = 0.9, 10


def step_sizes(image: Tensor, labels: Tensor, text: Tensor) -> tuple[float, float]:
    """Of the classifier, 4 N / largest eigenvalue of f^T f, and of the mixing weights, N / (4 max_k sum (f t_k)^2)."""
    largest = torch.linalg.eigvalsh((image.t() @ image).double()).max().item()
    squares = (image @ text.t()).square().sum(0).max().item()
    return 4 * len(labels) / largest, len(labels) / (4 * squares)


@torch.no_grad()
def start(head: LinearTextHead, image: Tensor, labels: Tensor, text: Tensor) -> None:
    """W_k: the sum of class k's features; every mixing weight 250 times the mean over classes of the mean f t_k."""
    hot = F.one_hot(labels, len(text)).to(image.dtype)
    head.classifier.weight.copy_(hot.t() @ image)
    own = ((image @ text.t()) * hot).sum(0) / hot.sum(0)
    head.alpha.fill_(250 * own.mean().item())


def descend(
    head: LinearTextHead, seen: Labelled, text: Tensor, setup: Setup, chosen_on: Labelled | None
) -> list[dict[str, float | Tensor]]:
    """All iterations; leaves the chosen one in `head`, and gives loss and mixing weights of each."""
    options = setup.options
    image, text = F.normalize(seen.features, dim=-1), F.normalize(text, dim=-1)
    similarity = image @ text.t()
    other = None if chosen_on is None else F.normalize(chosen_on.features, dim=-1)
    start(head, image, seen.labels, text)
    of_weights, of_alpha = step_sizes(image, seen.labels, text)
    head.requires_grad_(True)
    optim = torch.optim.SGD(head.classifier.parameters(), lr=of_weights, momentum=MOMENTUM)
    told: list[dict[str, float | Tensor]] = []
    best, kept = -1.0, {}
    for iteration in range(1, options.ITERATIONS + 1):
        optim.zero_grad()
        if options.CLEAR_GRADIENT:
            head.alpha.grad = None
        loss = F.cross_entropy(head.logits(image, similarity), seen.labels)
        loss.backward()
        assert head.alpha.grad is not None
        told.append({"loss": loss.item(), "alpha": head.alpha.detach().clone(), "grad": head.alpha.grad.clone()})
        optim.step()
        with torch.no_grad():
            if iteration % EVERY == 0:
                head.alpha.sub_(of_alpha * head.alpha.grad)
            if chosen_on is not None and other is not None:
                reached = accuracy(head.logits(other, other @ text.t()), chosen_on.labels)
                if reached >= best:  # of equals the later
                    best = reached
                    kept = {name: value.clone() for name, value in head.state_dict().items()}
    if kept:
        head.load_state_dict(kept)
        head.mark(options.SELECT_ON)
        print(f"accuracy on {options.SELECT_ON} {best:.2f}")
    head.alpha.grad = None
    head.requires_grad_(False)
    return told


def build(setup: Setup) -> PromptLearner:
    """A linear head on cached features."""
    head = LinearTextHead(len(setup.classnames), setup.clip.model.text_projection.shape[1])

    def fit(cached: CachedFeatures) -> None:
        """Descend on one pass of features, or on several one behind the other."""
        passes = list(cached.train(setup.options.VIEWS))
        seen = Labelled(torch.cat([one.features for one in passes]), torch.cat([one.labels for one in passes]))
        missing = set(range(len(setup.classnames))) - set(seen.labels.tolist())
        if missing:
            raise ValueError(f"LP++ needs training images of every class; {setup.classnames[min(missing)]} has none.")
        select = setup.options.SELECT_ON
        told = descend(head, seen, cached.text, setup, None if select == "none" else cached.of(select))
        print(f"{len(told)} iterations: loss {told[0]['loss']:.4f} -> {told[-1]['loss']:.4f}")

    return PromptLearner(
        PromptModule(), {}, head=head, class_texts=text_side(setup), trained_on=setup.classnames, fit=fit
    )


register(
    Method(
        name="LPpp",
        summary="a linear classifier mixed with the text features, a weight a class (LP++, arXiv 2404.02285)",
        options=OPTIONS,
        build=build,
        node="LPPP",
        learns=("classifier", "alpha"),
    )
)
