"""What a method learns, put together from parts, and the one forward pass that all methods share.

prompts -> towers (features, and their shift when it is asked for) -> corrections -> head -> logits. Everything that a
loss needs is in what the forward pass returns.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from promptclip.changes import Changes
from promptclip.class_prompts import Layout
from promptclip.model import PromptedCLIP
from promptclip.parts import Part, names_of_training
from promptclip.prompts import PromptModule, Prompts
from promptclip.shift import Encoded, FeatureShift, ShiftScale, at_least_single

TOKENS_AT_ONCE = 65_536  # text tokens of one evaluation pass of contexts per image, which bounds its memory
SHIFT_IMAGES = 8  # images whose contexts the shift is measured on, where each takes a text pass of its own


class Classes(NamedTuple):
    """K class names as `PromptLearner.forward` takes them.

    Attributes:
        names: as given.
        text: laid out for the text tower, or (K, D) text features that are fixed.
        rows: (K,) each name's place among the classes trained on, -1 for a new one.
        known: (K, D) plain CLIP's features of what `Changes.knowledge_texts` asks for.
        all_trained: no class is new.
    """

    names: tuple[str, ...]
    text: Layout | Tensor
    rows: Tensor
    known: Tensor | None = None
    all_trained: bool = False

    def to(self, device: torch.device | str) -> "Classes":
        """The same classes on `device`."""
        known = None if self.known is None else self.known.to(device)
        return self._replace(text=self.text.to(torch.device(device)), rows=self.rows.to(device), known=known)


class Features(NamedTuple):
    """What a head makes logits of, none of it normalised: image (B, D), text (K, D) or (B, K, D), both corrected;
    tokens (B, n, W): what the vision tower made of the tokens put into it (`BlockChange.tokens`), after `ln_post`."""

    image: Tensor
    text: Tensor
    tokens: Tensor | None = None


class Output(NamedTuple):
    """What a forward pass found for B images and K classes.

    Attributes:
        image: (B, D) image features, corrected, not normalised.
        text: (K, D) text features, corrected, not normalised; (B, K, D) where they depend on the image.
        logits: (B, K), in single precision at least.
        prompts: what entered the towers.
        image_shift, text_shift: feature shift of either tower where the method uses it (training only).
        norms: the same as one number per block, (L_v,) and (L_t,) (Eq. 7-8).
        teacher: what the method's teacher says of the images (training only).
        tokens: as in `Features`.
        classes: the classes.
    """

    image: Tensor
    text: Tensor
    logits: Tensor
    prompts: Prompts
    image_shift: FeatureShift | None = None
    text_shift: FeatureShift | None = None
    norms: tuple[Tensor, Tensor] | None = None
    teacher: Any = None
    tokens: Tensor | None = None
    classes: Classes | None = None


class Loss(NamedTuple):
    """One term of what is minimised: `weight * function(output, labels)`, a scalar."""

    weight: float
    function: Callable[[Output, Tensor], Tensor]


class Corrections(Part):
    """Base of the modules that change features before they are normalised: nothing is changed."""

    def follow_shift(self, norms: tuple[Tensor, Tensor] | None) -> None:
        """See a training step's shift before the features are corrected."""

    def image(self, features: Tensor) -> Tensor:
        """Corrected image features, (B, D) -> (B, D)."""
        return features

    def text(self, features: Tensor, rows: Tensor) -> Tensor:
        """Corrected text features, (K, D) -> (K, D); `rows` as in `Classes`."""
        return features


Teacher = Callable[[PromptedCLIP, Tensor, Tensor], Any]
"""(clip, images (B, 3, H, W), image features (B, D)) -> what the losses are to know; called without gradient. The
images are the second view of a batch where its loader draws two, and the features still those of the first."""

Gradients = Callable[[dict[str, Tensor], Sequence[nn.Parameter], Callable[[Tensor], Tensor]], Tensor]
"""(weighted losses by name, parameters, what scales a loss before its backward pass) -> the loss to show; sets the
parameters' gradients, scaled as the losses are."""


def cosine_logits(image: Tensor, text: Tensor, logit_scale: Tensor) -> Tensor:
    """Cosine similarity times exp(logit_scale), (B, K) (Eq. 4); text features (K, D), or (B, K, D), a set per image."""
    image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    cosine = image @ text.t() if text.dim() == 2 else (text @ image.unsqueeze(-1)).squeeze(-1)
    return logit_scale.exp() * cosine


def cross_entropy(output: Output, labels: Tensor) -> Tensor:
    """Mean cross-entropy of the logits against labels (B,)."""
    return F.cross_entropy(output.logits, labels)


CROSS_ENTROPY = {"ce": Loss(1, cross_entropy)}


def weighted(name: str, weight: float, function: Callable[[Output, Tensor], Tensor]) -> dict[str, Loss]:
    """A loss under its name, to be added to others; nothing where its weight is 0."""
    return {name: Loss(weight, function)} if weight else {}


def descend_sum(
    losses: dict[str, Tensor], parameters: Sequence[nn.Parameter], scale: Callable[[Tensor], Tensor]
) -> Tensor:
    """Gradients of the sum of all losses: what nearly every method does."""
    total = torch.stack(list(losses.values())).sum()
    scale(total).backward()
    return total


class Head(Part):
    """Makes logits of features; this one by cosine similarity, scaled as CLIP scales it."""

    def forward(self, features: Features, classes: Classes, logit_scale: Tensor) -> Tensor:
        """Logits (B, K); `logit_scale` is CLIP's, its logarithm."""
        return cosine_logits(features.image, features.text, logit_scale)

    def inference(self, classes: Classes) -> str:
        """Which of several inferences the head uses for these classes, for the record; "" where it has only one."""
        return ""


class CosineHead(Head, kind="cosine"):
    """CLIP's own.

    Args:
        scale: of the cosine, for methods whose reference writes a number, 100, where CLIP has its learned logit scale.
    """

    def __init__(self, scale: float | None = None) -> None:
        super().__init__()
        self.scale = scale

    def settings(self) -> dict[str, Any]:
        return {} if self.scale is None else {"scale": self.scale}

    def forward(self, features: Features, classes: Classes, logit_scale: Tensor) -> Tensor:
        """(B, K) logits."""
        if self.scale is None:
            return cosine_logits(features.image, features.text, logit_scale)
        return self.scale * cosine_logits(features.image, features.text, torch.zeros_like(logit_scale))


class PromptLearner(nn.Module):
    """All that is learned and saved, in parts that have names, and how training uses them.

    Tensors that belong to a list of classes are never saved. In files, the names of `prompts`' and `corrections`' own
    entries stand without the part's name, as the field's checkpoints have them (`ctx`, `text_surgery.up.weight`).

    Args:
        prompts: what enters the towers.
        losses: what is minimised, by the name it is logged under.
        shift_scale: measure the feature shift of every training step, and bring it to one number per block.
        changes: what is changed inside the towers' blocks.
        corrections: change features before they are normalised.
        teacher: asked in every training step, for `Output.teacher`. A module, whose tensors are buffers that are not
            saved.
        head: makes logits of features.
        carried: further modules that go from step to step and into checkpoints, by their name there.
        shows: numbers for the training line besides losses: functions of the output that give a scalar.
        gradients: another update rule than descending the sum of the losses.
        before_step: called before each training step, outside of what a graph repeats; may change buffers in place.
        after_epoch: called as (0-based epoch, number of epochs) after each epoch, before it is saved.
        class_texts: how a list of class names is prepared, in place of `prompts.class_prompts`: a part
            (clip, names) -> text features (K, D) that nothing learned changes.
        trained_on: the class names that what is learned belongs to, in order; () where it belongs to none.
        rates: how many times faster than OPTIM.LR some of it learns, by the first part of its names in files.
        restarts: epochs, counted from 1, after which the learning rate's schedule begins anew.
        views: how many augmented views of the training images the frozen vision tower makes features of, once, for
            training steps to see in place of images, one view an epoch; 0: the test-time view; -1: steps see images.
        fit: what is done in place of training steps, on features that the frozen towers make once; it fills the parts.
    """

    def __init__(
        self,
        prompts: PromptModule,
        losses: Mapping[str, Loss],
        *,
        shift_scale: ShiftScale | None = None,
        changes: Changes | None = None,
        corrections: Corrections | None = None,
        teacher: Teacher | None = None,
        head: Head | None = None,
        carried: Mapping[str, nn.Module] | None = None,
        shows: Mapping[str, Callable[[Output], Tensor]] | None = None,
        gradients: Gradients = descend_sum,
        before_step: Iterable[Callable[[], None]] = (),
        after_epoch: Iterable[Callable[[int, int], None]] = (),
        class_texts: Part | None = None,
        trained_on: Sequence[str] = (),
        rates: Mapping[str, float] | None = None,
        restarts: Sequence[int] = (),
        views: int = -1,
        fit: Callable[[Any], None] | None = None,
    ) -> None:
        super().__init__()
        self.prompts = prompts
        self.changes = Changes() if changes is None else changes
        self.shift_scale = shift_scale
        self.corrections = Corrections() if corrections is None else corrections
        self.carried = dict(carried or {})
        for name, module in self.carried.items():
            self.add_module(name, module)
        self.teacher = teacher
        self.head = CosineHead() if head is None else head
        self.class_texts = class_texts
        self.losses = dict(losses)
        self.shows = dict(shows or {})
        self.gradients = gradients
        self.before_step = tuple(before_step)
        self.after_epoch = tuple(after_epoch)
        self.trained_on = tuple(trained_on)
        self.rates = dict(rates or {})
        self.restarts = tuple(restarts)
        self.views = views
        self.fit = fit
        self.register_state_dict_post_hook(_to_file_names)
        self.register_load_state_dict_pre_hook(_from_file_names)

    # ---- class names -------------------------------------------------------------------------------------------

    def classes(self, clip: PromptedCLIP, names: list[str]) -> Classes:
        """The class names as `forward` takes them.

        Raises:
            ValueError: a name does not fit into CLIP's prompt; there is no name.
        """
        place = {name: row for row, name in enumerate(self.trained_on)}
        rows = torch.tensor([place.get(name, -1) for name in names], device=clip.device)
        knowledge = self.changes.knowledge_texts(names)
        known = None if knowledge is None else clip.encode_texts(knowledge)
        all_trained = all(name in place for name in names)
        return Classes(tuple(names), self._class_text(clip, names), rows, known, all_trained)

    def _class_text(self, clip: PromptedCLIP, names: list[str]) -> Layout | Tensor:
        if self.class_texts is not None:
            return self.class_texts(clip, names)
        class_prompts = self.prompts.class_prompts(names, clip.model.context_length)
        if class_prompts.n_ctx == 0 and self.shift_scale is None and self.leaves_blocks:
            return clip.encode_texts(list(class_prompts.names))
        return clip.layout(class_prompts)

    # ---- the forward pass --------------------------------------------------------------------------------------

    def forward(
        self,
        clip: PromptedCLIP,
        classes: Classes,
        images: Tensor,
        text: Tensor | None = None,
        second: Tensor | None = None,
    ) -> Output:
        """Both towers, corrections and head.

        Args:
            clip: the frozen CLIP.
            classes: from `self.classes`.
            images: (B, 3, H, W), normalised.
            text: (K, D) corrected text features from `self.text_features`, so that an evaluation makes them once.
            second: (B, 3, H, W) another view of the images for the teacher, where the loader draws two.
        """
        shift_scale = self.shift_scale if self.training else None
        vision_prompts = self.prompts.vision()
        constant = shift_scale is not None and shift_scale.constant
        seen = clip.encode_image(images, vision_prompts, shift_scale is not None, self.changes.vision(), constant)
        image, text_prompts = seen.features, self.prompts.text(seen.features) if text is None else ()
        text_shift, given = None, text
        if text is None:
            said = self._encode_text(clip, classes, text_prompts, shift_scale is not None, constant)
            text, text_shift = said.features, said.shift
        norms = None if shift_scale is None else shift_scale(seen.shift, text_shift)
        self.corrections.follow_shift(norms)
        image = self.corrections.image(image)
        text = self.corrections.text(text, classes.rows) if given is None else given
        features = Features(image, text, seen.tokens)
        logits = at_least_single(self.head(features, classes, clip.model.logit_scale))
        teacher = None
        if self.training and self.teacher is not None:
            with torch.no_grad():
                teacher = self.teacher(clip, images if second is None else second, image)
        prompts = Prompts(text_prompts, vision_prompts)
        return Output(image, text, logits, prompts, seen.shift, text_shift, norms, teacher, seen.tokens, classes)

    def _encode_text(
        self,
        clip: PromptedCLIP,
        classes: Classes,
        prompts: Sequence[Tensor | None],
        shift: bool,
        constant: bool = False,
    ) -> Encoded:
        """Text features as the tower gives them, or those that are fixed, and their shift if asked for."""
        if isinstance(classes.text, Tensor):
            return Encoded(classes.text)
        return clip.encode_text(classes.text, prompts, shift, self.changes.text(classes.known), constant)

    def text_features(self, clip: PromptedCLIP, classes: Classes) -> Tensor:
        """(K, D) corrected text features, for `forward`; not for prompts that depend on the image."""
        text = self._encode_text(clip, classes, self.prompts.text(), False).features
        return self.corrections.text(text, classes.rows)

    def images_at_once(self, classes: Classes) -> int | None:
        """How many images one evaluation pass takes, where each has a context of its own; None: any number."""
        if isinstance(classes.text, Tensor) or not self.prompts.per_image:
            return None
        return max(1, TOKENS_AT_ONCE // len(classes.text.ids))

    @property
    def leaves_blocks(self) -> bool:
        """Whether the towers' blocks are CLIP's own, so that feature shift is what prompts do."""
        return type(self.changes) is Changes

    # ---- feature shift of a trained model ----------------------------------------------------------------------

    @torch.no_grad()
    def image_shift(self, clip: PromptedCLIP, images: Tensor) -> FeatureShift | None:
        """Shift (Eq. 6) of the vision tower on images (B, 3, H, W); None if it has no prompts."""
        prompts = self.prompts.vision()
        return clip.encode_image(images, prompts, True, self.changes.vision()).shift if prompts else None

    @torch.no_grad()
    def text_shift(self, clip: PromptedCLIP, classes: Classes, images: Tensor) -> FeatureShift | None:
        """Shift of the text tower on the classes; None if it has no prompts. `images`: a few to condition on."""
        if isinstance(classes.text, Tensor):
            return None
        image = None
        if self.prompts.per_image:  # a mean over the contexts of a few images
            few = max(1, min(SHIFT_IMAGES, TOKENS_AT_ONCE // (2 * len(classes.text.ids))))
            image = clip.encode_image(images[:few]).features
        prompts = self.prompts.text(image)
        return self._encode_text(clip, classes, prompts, True).shift if prompts else None

    # ---- names in files ----------------------------------------------------------------------------------------

    def named_learned(self) -> dict[str, nn.Parameter]:
        """Parameters by their names in checkpoints."""
        return {file_name(name): parameter for name, parameter in self.named_parameters()}

    def names_of_training(self) -> set[str]:
        """Names in checkpoints of what only training needs, as the parts' `training_only` says.

        A checkpoint to be tested may lack them.
        """
        return {file_name(name) for name in names_of_training(self)}


UNNAMED = ("prompts.", "changes.", "corrections.", "head.")
"""Parts whose own names are left out in files."""


def file_name(name: str) -> str:
    """A parameter's name in checkpoints, of its name in the learner."""
    return next((name.removeprefix(part) for part in UNNAMED if name.startswith(part)), name)


def _to_file_names(module: nn.Module, state: dict[str, Any], prefix: str, _metadata: dict[str, Any]) -> None:
    for key in [key for key in state if key.removeprefix(prefix).startswith(UNNAMED)]:
        state[prefix + file_name(key.removeprefix(prefix))] = state.pop(key)


def _from_file_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    own = {name for name, _ in (*module.named_parameters(), *module.named_buffers())}
    for name in own:
        short = file_name(name)
        if short != name and prefix + short in state:
            state[prefix + name] = state.pop(prefix + short)
