"""A trained classifier as a file that other programs run: ONNX or TorchScript of the image side, or the class matrix.

The text side has done its work once the class names are known, so it is folded in: what is left takes pictures.
"""

import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from promptclip.classifier import Classifier
from promptclip.common.files import write_atomically

FORMATS = ("onnx", "torchscript", "matrix")
INPUT, OUTPUTS = "images", ("probabilities", "features")
METADATA = "promptclip.json"
"""Name, in a TorchScript file, of what `facts` says."""
OPSET = 18
TOLERANCE = 1e-4


class ImageSide(nn.Module):
    """Pictures in, probabilities and features out, the class names folded in.

    Args:
        classifier: whose text features do not depend on the image.

    Raises:
        ValueError: they do; the classifier computes in half precision.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        method, ready = classifier.description.method, classifier.prepared()
        if ready.text is None:
            raise ValueError(
                f"{method} cannot be exported: its text features depend on the image, so that there is no class matrix "
                "to fold in. Use it through promptclip."
            )
        if classifier.clip.model.dtype != torch.float32:
            raise ValueError("A classifier in half precision cannot be exported: load it anew, without half().")
        self.learner, self.clip, self.classes = classifier.learner, classifier.clip, ready.classes
        self.model = classifier.clip.model.visual  # so that its weights are this module's
        self.preprocessing = classifier.description.preprocessing
        self.text = nn.Buffer(ready.text)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K) probabilities and (B, D) normalised features of images (B, 3, size, size), RGB from 0 to 1."""
        output = self.learner(self.clip, self.classes, self.preprocessing.normalise(images), self.text)
        return output.logits.float().softmax(1), F.normalize(output.image.float(), dim=-1)


def facts(classifier: Classifier) -> dict[str, object]:
    """What goes beside and into every exported file: class names, method, how pictures are prepared."""
    description, made = classifier.description, classifier.description.preprocessing
    prepared = {"size": made.size, "interpolation": made.interpolation, "resize": made.resize, "crop": "centre"}
    prepared |= {"channels": "RGB", "pixels": "float32 from 0 to 1; normalised inside"}
    return {"method": description.method, "classes": classifier.classes, "preprocessing": prepared}


def export(classifier: Classifier, form: str, folder: str | Path) -> list[Path]:
    """Write the classifier into a folder in one of FORMATS.

    Args:
        classifier: in single precision.
        form: "onnx" or "torchscript": model.onnx or model.pt, which take images (B, 3, size, size) of any B and give
            probabilities (B, K) and features (B, D). "matrix": text_features.npy, (K, D), normalised, to which the
            cosine of an image feature, times the logit_scale in classes.json, gives the logits.
        folder: made if it is not there. classes.json and classes.txt, one name a line, are written beside.

    Returns:
        The files.

    Raises:
        ValueError: there is no such form; the method cannot be exported to it; the exported file says something else
            than the classifier.
        ImportError: the packages for ONNX are missing.
    """
    if form not in FORMATS:
        raise ValueError(f"The format {form!r} is none of {', '.join(FORMATS)}.")
    said, folder = facts(classifier), Path(folder).expanduser()
    names = classifier.classes
    if broken := [name for name in names if len(name.splitlines()) != 1]:
        raise ValueError(f"classes.txt has one class name a line, and {broken[0]!r} has several.")
    writers: dict[str, Callable[[Classifier, dict[str, object], Path], Path]]
    writers = {"onnx": write_onnx, "torchscript": write_torchscript, "matrix": write_matrix}
    if form != "matrix":
        ImageSide(classifier)  # so that a refusal leaves no folder
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        made = writers[form](classifier, said, folder)
    except Exception:
        if new:
            with suppress(OSError):  # somebody else put something into it
                folder.rmdir()
        raise
    write_atomically(folder / "classes.json", json.dumps(said, indent=2, ensure_ascii=False) + "\n")
    write_atomically(folder / "classes.txt", "".join(f"{name}\n" for name in names))
    return [made, folder / "classes.json", folder / "classes.txt"]


def sample(classifier: Classifier, batch: int) -> Tensor:
    """(batch, 3, size, size) noise in the place of pictures, the same each time."""
    size = classifier.description.preprocessing.size
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0)).to(classifier.device)


@contextmanager
def told(form: str, classifier: Classifier) -> Iterator[None]:
    """An error of torch's exporter as a ValueError that says whose it is."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"torch {torch.__version__} could not make {form} of {classifier.description.method} ({reason}); report it "
            "with both names, or try another format or torch."
        ) from error


@torch.no_grad()
def write_onnx(classifier: Classifier, said: dict[str, object], folder: Path) -> Path:
    """Write and check model.onnx, with `said` in its metadata."""
    if missing := [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]:
        raise ImportError(f"ONNX needs {' and '.join(missing)}: pip install 'restore-prompts[export]'.")
    import onnx
    import onnxruntime

    side = ImageSide(classifier).eval()
    with tempfile.TemporaryDirectory(dir=folder) as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        file = Path(place) / "model.onnx"
        with told("ONNX", classifier):
            torch.onnx.export(
                side,
                (sample(classifier, 2),),
                file,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
                external_data=False,
                verbose=False,
            )
        made = onnx.load(file)
        text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in said.items()}
        onnx.helper.set_model_props(made, text)
        onnx.save(made, file)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        check(side, lambda images: session.run(None, {INPUT: images.cpu().numpy()}), classifier)
        os.replace(file, folder / "model.onnx")
    return folder / "model.onnx"


@torch.no_grad()
def write_torchscript(classifier: Classifier, said: dict[str, object], folder: Path) -> Path:
    """Write and check model.pt, with `said` as its extra file METADATA."""
    side = ImageSide(classifier).eval()
    with tempfile.TemporaryDirectory(dir=folder) as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on what the trace holds fixed, which `check` looks at with other batch sizes
        file = str(Path(place) / "model.pt")
        with told("TorchScript", classifier):
            traced = torch.jit.trace(side, sample(classifier, 2), check_trace=False)
        torch.jit.save(traced, file, _extra_files={METADATA: json.dumps(said)})
        loaded = torch.jit.load(file, map_location=classifier.device)
        check(side, lambda images: [one.cpu().numpy() for one in loaded(images)], classifier)
        os.replace(file, folder / "model.pt")
    return folder / "model.pt"


def write_matrix(classifier: Classifier, said: dict[str, object], folder: Path) -> Path:
    """Write text_features.npy, and the scale of its logits into `said`.

    Raises:
        ValueError: there is more to the classifier than a matrix.
    """
    description = classifier.description
    if classifier.per_image:
        raise ValueError(
            f"{description.method} cannot be exported: its text features depend on the image, so there is no matrix."
        )
    if not classifier.cosine:
        raise ValueError(
            f"The classifier of {description.method} is more than a matrix of text features (its head is "
            f"{classifier.learner.head.kind}): export it as onnx or torchscript."
        )
    scale = getattr(classifier.learner.head, "scale", None)
    said["logit_scale"] = float(classifier.clip.model.logit_scale.exp()) if scale is None else scale
    said["image_features"] = image_features(classifier)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        file = Path(place) / "text_features.npy"
        np.save(file, classifier.text_features().numpy())
        os.replace(file, folder / "text_features.npy")
    return folder / "text_features.npy"


def image_features(classifier: Classifier) -> str:
    """Whose image features the matrix goes with."""
    learner = classifier.learner
    changes = learner.prompts.vision() or any(learner.changes.vision()) or "corrections" in classifier.parts
    return "the method's own: they may differ from CLIP's" if changes else "CLIP's"


def check(side: ImageSide, found: Callable[[Tensor], list[np.ndarray]], classifier: Classifier) -> None:
    """Compare an exported model with torch, on one picture and on three.

    Raises:
        ValueError: they differ by more than TOLERANCE.
    """
    for batch in (1, 3):
        images = sample(classifier, batch)
        for name, expected, value in zip(OUTPUTS, side(images), found(images), strict=True):
            right = expected.cpu().numpy()
            gap = float(np.abs(right - value).max()) if right.shape == value.shape else float("inf")
            if not gap <= TOLERANCE:
                raise ValueError(
                    f"The exported {name} of {batch} pictures differ from the classifier's by {gap:.2g}, more than "
                    f"{TOLERANCE}, so nothing was written; report it with this method's name: "
                    f"{classifier.description.method}."
                )
