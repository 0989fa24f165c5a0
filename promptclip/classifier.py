"""A trained classifier: what a training leaves, in the two lines that use it.

model = promptclip.load("output/pets/seed1")
model.predict(["a.jpg", pil_image], top=5)
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from clip.model import convert_weights
from torch import Tensor
from torch.nn import functional as F

from promptclip import folder as folders
from promptclip import images as pictures
from promptclip.assembly import learner_of
from promptclip.card import card
from promptclip.folder import Description
from promptclip.images import ImageLike
from promptclip.learner import Classes, Corrections, CosineHead, Output
from promptclip.model import PromptedCLIP
from promptclip.parts import Part

AT_ONCE = 64  # images of a forward pass unless somebody says so
CLASSES_AT_ONCE = 1000  # class names of a text pass, which bounds its memory
MOST_CLASSES = 100_000

Prediction = list[tuple[str, float]]
"""(class name, probability) of an image, the likeliest first."""


class Prepared(NamedTuple):
    """The class names as the learner takes them, and where they were prepared.

    Attributes:
        place: device and type of the weights.
        classes: the class names.
        text: (K, D) corrected text features; None where they depend on the image.
    """

    place: tuple[torch.device, torch.dtype]
    classes: Classes
    text: Tensor | None


class Classifier:
    """Images in, class names and their probabilities out. `promptclip.load` makes it.

    Args:
        description: what its folder says of it.
        parts: what was learned, by place (`promptclip.folder.PLACES`).
        clip: the CLIP it stands on, which several classifiers may share.
    """

    def __init__(self, description: Description, parts: dict[str, Part], clip: PromptedCLIP) -> None:
        own = getattr(parts["prompts"], "own_contexts", 0)
        if own and own != len(description.classes):
            raise ValueError(
                f"{description.method} has contexts for {own} classes, and {len(description.classes)} class names: "
                "give those it was trained on, in their order."
            )
        self.description, self.parts, self.clip = description, parts, clip
        self.learner = learner_of(parts, description.trained_on).eval().requires_grad_(False)
        self._prepared: Prepared | None = None

    # ---- what it is ------------------------------------------------------------------------------------------------

    @property
    def classes(self) -> list[str]:
        """The class names, in the order of the probabilities."""
        return list(self.description.classes)

    @property
    def info(self) -> dict[str, Any]:
        """What config.json says: method, options, backbone, preprocessing, class names, record of the training."""
        return folders.as_json(self.description, self.parts)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.clip.device

    @property
    def per_image(self) -> bool:
        """Whether the text features depend on the image, so that there is no single matrix of them."""
        return self.learner.prompts.per_image and "class_texts" not in self.parts

    @property
    def cosine(self) -> bool:
        """Whether the logits are CLIP's: cosine similarity of image and text features, times exp(logit_scale)."""
        return type(self.learner.head) is CosineHead

    # ---- images in -------------------------------------------------------------------------------------------------

    def predict(self, images: Any, top: int = 5, batch: int = AT_ONCE) -> list[Prediction]:
        """The `top` likeliest classes of each image, (class name, probability), the likeliest first.

        Args:
            images: one image or many: paths, a folder, Pillow images, arrays (H, W, 3), tensors (3, H, W) or a batch
                of them. Pixels are bytes, or numbers from 0 to 1.
            top: how many classes.
            batch: images of a forward pass.

        Raises:
            FileNotFoundError, ValueError: an image cannot be read; it is named.
        """
        return self.named(self.probabilities(images, batch), top)

    def named(self, probabilities: Tensor, top: int = 5) -> list[Prediction]:
        """Rows of probabilities (N, K) as predictions."""
        if top < 1:
            raise ValueError(f"top is {top}; 1 or more classes can be asked for.")
        values, places = probabilities.topk(min(top, len(self.classes)), dim=1)
        pairs = zip(values.tolist(), places.tolist(), strict=True)
        names = self.description.classes
        return [[(names[k], value) for value, k in zip(*row, strict=True)] for row in pairs]

    def probabilities(self, images: Any, batch: int = AT_ONCE) -> Tensor:
        """(N, K) probabilities of the classes, float32 on the CPU; images as in `predict`."""
        width = len(self.classes)
        return self._over(images, batch, width, lambda output: output.logits.float().softmax(1))

    def image_features(self, images: Any, batch: int = AT_ONCE) -> Tensor:
        """(N, D) image features as the classifier uses them, normalised, float32 on the CPU; images as in `predict`."""
        width = self.clip.model.text_projection.shape[1]
        return self._over(images, batch, width, lambda output: F.normalize(output.image.float(), dim=-1))

    def batches(self, images: Iterable[ImageLike], batch: int = AT_ONCE) -> Iterator[list[Tensor | Exception]]:
        """Batch by batch, the probabilities (K,) of each image, or the exception that says why it cannot be read."""
        for some in pictures.prepared(images, self.description.preprocessing, batch):
            good = [one for one in some if isinstance(one, Tensor)]
            rows = iter(self.logits(torch.stack(good)).float().softmax(1).cpu()) if good else iter(())
            yield [next(rows) if isinstance(one, Tensor) else one for one in some]

    def preprocess(self, image: ImageLike) -> Tensor:
        """(3, size, size): an image as `logits` takes it."""
        return self.description.preprocessing(pictures.read(image))

    def logits(self, images: Tensor) -> Tensor:
        """(B, K) logits of images (B, 3, size, size) that are preprocessed, on the classifier's device."""
        return torch.cat([output.logits for output in self._outputs(images)])

    def _over(self, images: Any, batch: int, width: int, wanted: Callable[[Output], Tensor]) -> Tensor:
        if batch < 1:
            raise ValueError(f"batch is {batch}; it is the number of images of a forward pass, 1 or more.")
        each = pictures.one_by_one(images)
        rows = [
            wanted(output).cpu()
            for some in pictures.prepared(each, self.description.preprocessing, batch)
            for output in self._outputs(pictures.stacked(some))
        ]
        return torch.cat(rows) if rows else torch.zeros(0, width)

    @torch.no_grad()
    def _outputs(self, images: Tensor) -> list[Output]:
        place, classes, text = self.prepared()
        few = self.learner.images_at_once(classes) if text is None else None
        images = images.to(self.device)
        parts = [images] if few is None else images.split(few)
        return [self.learner(self.clip, classes, part, text) for part in parts]

    # ---- class names -----------------------------------------------------------------------------------------------

    def text_features(self) -> Tensor:
        """(K, D) text features as the classifier uses them, normalised, float32 on the CPU.

        Raises:
            ValueError: they depend on the image.
        """
        text = self.prepared().text
        if text is None:
            raise ValueError(
                f"The text features of {self.description.method} depend on the image, so there are none without one."
            )
        return F.normalize(text.float(), dim=-1).cpu()

    def with_classes(self, names: Sequence[str], template: str | None = None) -> "Classifier":
        """The same model with other class names; it shares this one's CLIP.

        Args:
            names: the class names; "_" is read as a space.
            template: the text around a class name, {} being its place, where the method has such a text.

        Raises:
            ValueError: what was learned belongs to the classes trained on; there is no name, too many, or one twice;
                a name does not fit into CLIP's prompt; the method has no template, or this one has no {}.
        """
        method, names = self.description.method, _checked_names(names)
        trained_on = set(self.description.trained_on)
        if self.description.new_classes and names != self.classes and not set(names) <= trained_on:
            raise ValueError(
                f"{method} cannot take other class names: {self.description.new_classes}. Train it on these classes."
            )
        parts = self.parts
        if template is not None:
            place = "class_texts" if "class_texts" in parts else "prompts"
            if "{}" not in template:
                raise ValueError(
                    f"The template {template!r} has no {{}} where the class name goes: 'a photo of a {{}}.'"
                )
            try:
                parts = parts | {place: parts[place].with_template(template)}
            except ValueError as error:
                raise ValueError(f"{method} takes no template: {error}. Give class names alone.") from None
        changed = Classifier(replace(self.description, classes=tuple(names)), parts, self.clip)
        changed.prepared()  # so that a name which does not fit is refused now
        return changed

    @torch.no_grad()
    def prepared(self) -> Prepared:
        """The class names, prepared where the weights are now."""
        place = (self.device, self.clip.model.dtype)
        if self._prepared is None or self._prepared.place != place:
            self._prepared = Prepared(place, *self._prepare())
        return self._prepared

    def _prepare(self) -> tuple[Classes, Tensor | None]:
        names, learner, clip = self.classes, self.learner, self.clip
        if self.per_image or len(names) <= CLASSES_AT_ONCE or self.description.new_classes:
            classes = learner.classes(clip, names)
            return classes, None if self.per_image else learner.text_features(clip, classes)
        parts = [names[start : start + CLASSES_AT_ONCE] for start in range(0, len(names), CLASSES_AT_ONCE)]
        few = [learner.classes(clip, part) for part in parts]
        text = torch.cat([learner.text_features(clip, classes) for classes in few])
        rows = torch.cat([classes.rows for classes in few])
        known = None if few[0].known is None else torch.cat([one.known for one in few if one.known is not None])
        return Classes(tuple(names), text, rows, known, all(one.all_trained for one in few)), text

    # ---- where it computes -------------------------------------------------------------------------------------------

    def to(self, device: torch.device | str) -> "Classifier":
        """Move it, and the CLIP that it may share with others, to a device; returns itself."""
        self.clip.model.to(device)
        self.learner.to(device)
        return self

    def half(self) -> "Classifier":
        """Compute CLIP in half precision, as the field does on a GPU; what was learned stays as it is."""
        convert_weights(self.clip.model)
        return self

    # ---- out of it -------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """Write it as a folder that `promptclip.load` reads; returns the folder."""
        folder = Path(folder).expanduser()
        folders.write(folder, self.description, self.parts, card(self.description))
        return folder

    def push(self, repository: str, private: bool = False, token: str | None = None) -> str:
        """Upload it to a model hub as "user/name"; returns the address. See `promptclip.hub.push`."""
        from promptclip import hub  # an extra

        return hub.push(self, repository, private, token)

    def merged(self) -> dict[str, Tensor]:
        """A state dict of `clip.model.CLIP` that is this model, without this code; for methods that change weights.

        Raises:
            ValueError: the method is more than changed weights.
        """
        merge = getattr(self.learner.changes, "merged_state", None)
        plain = type(self.learner.corrections) is Corrections and self.cosine
        unprompted = not self.learner.prompts.vision() and not self.per_image and not self.learner.prompts.text()
        if merge is None or not plain or not unprompted:
            raise ValueError(
                f"{self.description.method} cannot be merged into CLIP's weights: what it learned is "
                f"{', '.join(sorted(self.parts.keys() - {'head', 'class_texts'}))}, not a change of weights alone."
            )
        return merge(self.clip.model)


def _checked_names(names: Sequence[str]) -> list[str]:
    if isinstance(names, str):
        raise ValueError(f"Class names are a list of texts, not the text {names!r:.80}.")
    names = list(names)
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError("A classifier needs at least one class name, and none may be empty.")
    if len(names) > MOST_CLASSES:
        raise ValueError(f"{len(names):,} class names are more than {MOST_CLASSES:,}.")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(f"The class name {name!r} stands there {count} times; its probability would be split.")
    return names
