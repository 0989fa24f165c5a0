"""`promptclip.load`: a trained classifier from wherever it lies."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from promptclip.backbone import load_clip, weights_sha256
from promptclip.classifier import Classifier
from promptclip.folder import CONFIG, read
from promptclip.model import PromptedCLIP

FOLDER = "classifier"
"""Name of the folder in a run's output directory."""


def load(
    place: str | Path,
    *,
    method: str | None = None,
    backbone: str | None = None,
    classes: Sequence[str] | None = None,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Classifier:
    """A trained classifier.

    Args:
        place: a run's output directory, a classifier's folder, "user/name" of a model hub, or with `method` a directory
            of checkpoints as the field publishes them.
        method: name of the method that trained published checkpoints.
        backbone: name or file of the CLIP; without it the one that the folder names.
        classes: class names: of published checkpoints, which hold none; else in place of those of the folder.
        device: where it shall compute.
        options: of published checkpoints, see `promptclip.published.load_published`: epoch, words, position, size.

    Raises:
        FileNotFoundError: there is nothing of the kind.
        ValueError: it is damaged, of another format version or backbone.
        ConnectionError: the hub, or the backbone, cannot be reached.
    """
    if method is not None:
        from promptclip.published import load_published  # which few need

        if not backbone or classes is None:
            raise ValueError(
                "Published checkpoints hold neither backbone nor class names: give backbone= and classes=."
            )
        return load_published(Path(place).expanduser(), method, backbone, classes, device=device, **options)
    if options:
        raise TypeError(f"{', '.join(options)}: only for published checkpoints, together with method=.")
    model = load_folder(find(place), backbone, device)
    return model if classes is None else model.with_classes(classes)


def find(place: str | Path) -> Path:
    """The classifier's folder that `place` stands for; one of a hub is fetched.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(place).expanduser()
    for folder in (path, path / FOLDER):
        if (folder / CONFIG).is_file():
            return folder
    if path.is_dir():
        runs = any(path.glob("*/model*.pth.tar*"))
        fix = f"run `promptclip pack {path}`" if runs else "name a run's output directory, or a classifier's folder"
        raise FileNotFoundError(f"{path} holds no trained classifier: {fix}.")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(place)):
        raise FileNotFoundError(f"There is no folder {path}; name a run's output directory, or a classifier's folder.")
    from promptclip import hub  # an extra

    return hub.fetch(str(place))


def load_folder(folder: Path, backbone: str | None = None, device: torch.device | str = "cpu") -> Classifier:
    """The classifier in a folder.

    Args:
        folder: of a trained classifier.
        backbone: name or file of the CLIP it stands on, in place of the one that the folder names.
        device: where it shall compute.

    Raises:
        FileNotFoundError, ValueError, ConnectionError: the folder, or the backbone, cannot be used.
    """
    description, parts = read(folder)
    name = backbone or description.backbone
    try:
        model = load_clip(name, description.activation)
    except ValueError as error:
        raise ValueError(f"{folder} stands on the backbone {description.backbone}: {error}") from error
    if weights_sha256(model) != description.sha256:
        raise ValueError(
            f"{folder} was trained on the backbone {description.backbone} (SHA-256 {description.sha256[:16]}…), and "
            f"{name} holds other weights: give the right one as `backbone`."
        )
    try:
        return Classifier(description, parts, PromptedCLIP(model)).to(device)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{folder} does not fit its own backbone {name}: {error}") from error
