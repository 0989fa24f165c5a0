"""Tip-Adapter: a cache of training features beside the zero-shot logits, without training or with keys that learn
(Tip-Adapter-F), arXiv 2207.09519.

The reference keeps the epoch that is best on the *test* set, searches alpha and beta afterwards, and reports the larger
of the two accuracies. Here all is chosen on the validation shots; SELECT_ON test repeats the published habit, and marks
the record and every table that it reaches. Alpha and beta stay at their initial values while keys learn.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from promptclip.cache import CacheHead
from promptclip.class_texts import TemplateTexts
from promptclip.learner import PromptLearner
from promptclip.prompts import PromptModule
from trainers.cached_features import SPLITS, CachedFeatures, Labelled, accuracy
from trainers.method import LOGIT_SCALE, PREC, Method, Option, Options, Setup, register
from trainers.templates import tables

# alpha to start from, and how far the search of beta and alpha goes, by data set; elsewhere those of ImageNet
PUBLISHED = {
    "Caltech101": (3, 12, 5),
    "DescribableTextures": (2, 13, 13),
    "EuroSAT": (2, 12, 10),
    "FGVCAircraft": (5, 30, 30),
    "Food101": (1.17, 10, 10),
    "ImageNet": (1.17, 7, 3),
    "OxfordFlowers": (10, 50, 50),
    "OxfordPets": (1.17, 7, 3),
    "StanfordCars": (3, 20, 10),
    "SUN397": (1.17, 12, 10),
    "UCF101": (3, 7, 3),
}
BETA = 1.0
VIEWS = Option(10, "augmented views a training image; 0: its test-time view", low=0)
SELECT_ON = Option("val", "split that chooses; 'test' repeats the published habit and marks the results", SPLITS)
OPTIONS = {
    "VIEWS": VIEWS,
    "ALPHA": Option(0.0, "weight of the cache at the start; 0: the data set's own", low=0),
    "BETA": Option(BETA, "sharpness of the cache at the start", above=0),
    "SELECT_ON": SELECT_ON,
    "SEARCH": Option(True, "choose alpha and beta on a grid", ignored=lambda options: _unselected(options)),
    "LOGIT_SCALE": LOGIT_SCALE,
    "PREC": PREC,
}


def _unselected(options: Options) -> str:
    return "SELECT_ON none chooses nothing" if options.SELECT_ON == "none" else ""


def text_side(setup: Setup) -> TemplateTexts:
    """The data set's template; for ImageNet the seven selected ones."""
    return TemplateTexts(tables()["select_7"] if setup.dataset == "ImageNet" else [setup.dataset_template()])


def fill_cache(head: CacheHead, passes: list[Labelled]) -> None:
    """Keys: each image's features averaged over the passes, then normalised."""
    head.resize({"adapter.weight": tuple(passes[0].features.shape)})
    mean = torch.stack([one.features for one in passes]).mean(0)
    with torch.no_grad():
        head.adapter.weight.copy_(F.normalize(mean, dim=-1))
        head.labels.copy_(passes[0].labels)


@torch.no_grad()
def search(head: CacheHead, found: Labelled, text: Tensor, limits: tuple[float, float]) -> float:
    """Set alpha and beta to the best pair of the reference's grid on `found`; its accuracy.

    200 values of beta from 0.1 towards limits[0], 20 of alpha towards limits[1]; the first of equals is kept.
    """
    image = F.normalize(found.features, dim=-1)
    similarity = head.scale * image @ F.normalize(text, dim=-1).t()
    affinity, best = head.affinity(image), -1.0
    for i in range(200):
        beta = 0.1 + i * (limits[0] - 0.1) / 200
        votes = head.votes(affinity, beta)
        for j in range(20):
            alpha = 0.1 + j * (limits[1] - 0.1) / 20
            reached = accuracy(similarity + alpha * votes, found.labels)
            if reached > best:
                best = reached
                head.alpha.fill_(alpha)
                head.beta.fill_(beta)
    return best


@torch.no_grad()
def search_from_here(head: CacheHead, found: Labelled, text: Tensor, limits: tuple[float, float], keep: bool) -> float:
    """`search`, and where it finds nothing better than the pair there is, that one if it is to be kept.

    Of Tip-Adapter-F the reference reports the larger of the best epoch's accuracy and the best pair's.
    """
    before = head.alpha.clone(), head.beta.clone()
    here = accuracy(logits(head, found.features, text), found.labels)
    reached = search(head, found, text, limits)
    if keep and here > reached:
        head.alpha.copy_(before[0])
        head.beta.copy_(before[1])
        return here
    return reached


def logits(head: CacheHead, features: Tensor, text: Tensor) -> Tensor:
    """(B, K) of raw image features (B, D) for the classes trained on."""
    image = F.normalize(features, dim=-1)
    votes = head.votes(head.affinity(image), head.beta)
    return head.scale * image @ F.normalize(text, dim=-1).t() + head.alpha * votes


def learn_keys(head: CacheHead, cached: CachedFeatures, setup: Setup, chosen_on: Labelled | None) -> None:
    """Tip-Adapter-F: keys learn with AdamW and a cosine per step; the epoch that is first best is kept."""
    options, text = setup.options, cached.text
    head.adapter.weight.requires_grad_(True)
    optim = torch.optim.AdamW([head.adapter.weight], lr=options.LR, eps=1e-4, weight_decay=options.WEIGHT_DECAY)
    best, kept, steps = -1.0, head.adapter.weight.detach().clone(), 0
    sched: torch.optim.lr_scheduler.LRScheduler | None = None
    for epoch in range(setup.epochs):
        (seen,) = cached.train(min(options.VIEWS, 1))
        order = torch.randperm(len(seen.labels)) if options.SHUFFLE else torch.arange(len(seen.labels))
        parts = order.to(seen.labels.device).split(options.BATCH)
        if sched is None:
            sched = torch.optim.lr_scheduler.CosineAnnealingLR(optim, setup.epochs * len(parts))
        total = 0.0
        for part in parts:
            loss = F.cross_entropy(logits(head, seen.features[part], text), seen.labels[part])
            optim.zero_grad()
            loss.backward()
            optim.step()
            sched.step()
            steps, total = steps + 1, total + loss.item() * len(part)
        with torch.no_grad():
            reached = None if chosen_on is None else accuracy(logits(head, chosen_on.features, text), chosen_on.labels)
        shown = "" if reached is None else f" accuracy on {options.SELECT_ON} {reached:.2f}"
        print(f"epoch [{epoch + 1}/{setup.epochs}] loss {total / len(order):.4f}{shown}")
        if reached is None or reached > best:
            best, kept = reached or 0.0, head.adapter.weight.detach().clone()
    with torch.no_grad():
        head.adapter.weight.copy_(kept)
    head.adapter.weight.requires_grad_(False)


def build_with(learns: bool) -> Callable[[Setup], PromptLearner]:
    """Tip-Adapter, or Tip-Adapter-F if its keys learn."""

    def build(setup: Setup) -> PromptLearner:
        options = setup.options
        start, *limits = PUBLISHED.get(setup.dataset, PUBLISHED["ImageNet"])
        width = setup.clip.model.text_projection.shape[1]
        head = CacheHead(0, width, len(setup.classnames), setup.logit_scale(), options.ALPHA or start, options.BETA)

        def fit(cached: CachedFeatures) -> None:
            """Fill the cache, let its keys learn, choose alpha and beta."""
            fill_cache(head, list(cached.train(options.VIEWS)))
            chosen_on = None if options.SELECT_ON == "none" else cached.of(options.SELECT_ON)
            if learns:
                learn_keys(head, cached, setup, chosen_on)
            if chosen_on is not None and (learns or options.SEARCH):
                head.mark(options.SELECT_ON)
            if chosen_on is not None and options.SEARCH:
                reached = search_from_here(head, chosen_on, cached.text, (limits[0], limits[1]), keep=learns)
                print(
                    f"alpha {head.alpha.item():.4g}, beta {head.beta.item():.4g}: accuracy on {options.SELECT_ON} "
                    f"{reached:.2f}"
                )

        return PromptLearner(
            PromptModule(), {}, head=head, class_texts=text_side(setup), trained_on=setup.classnames, fit=fit
        )

    return build


register(
    Method(
        name="TipAdapter",
        summary="a cache of training features beside zero-shot CLIP, nothing is trained (arXiv 2207.09519)",
        options=OPTIONS,
        build=build_with(learns=False),
        node="TIP_ADAPTER",
        learns=("adapter",),
    )
)
register(
    Method(
        name="TipAdapter_F",
        summary="a cache of training features whose keys learn (Tip-Adapter-F, arXiv 2207.09519)",
        options=OPTIONS
        | {
            "SEARCH": replace(OPTIONS["SEARCH"], help="choose alpha and beta on a grid after training"),
            "LR": Option(1e-3, "learning rate of AdamW, whose epsilon is 1e-4", above=0),
            "WEIGHT_DECAY": Option(0.01, "of AdamW", low=0),
            "BATCH": Option(256, "images a step", low=1),
            "SHUFFLE": Option(True, "take the images of an epoch in random order"),
        },
        build=build_with(learns=True),
        node="TIP_ADAPTER_F",
        learns=("adapter",),
    )
)
