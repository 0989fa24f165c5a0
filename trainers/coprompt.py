"""CoPrompt: MaPLe's prompts and adapters of both features, held near plain CLIP's features of another view of the image
and of sentences about the class (arXiv 2306.01195).

Every training step draws one sentence number, the same for all classes. The reference's sentences, written by a
language model, are not shipped: SENTENCES names a file, {"class name": ["...", ...]}, each class with as many; without
it a line says that hand-written templates stand in. The reference's train.py sets the weight of consistency to 8, which
its yaml file sets to 1: W is 1. The second view needs DATALOADER.K_TRANSFORMS 2.
"""

import json
from pathlib import Path

import torch
from clip.model import CLIP
from torch import Tensor, nn
from torch.nn import functional as F

from promptclip.adapters import ImageTextAdapters
from promptclip.class_texts import fill
from promptclip.learner import CROSS_ENTROPY, Loss, Output, PromptLearner
from promptclip.model import PromptedCLIP
from trainers import maple
from trainers.method import Method, Option, Options, Setup, register
from trainers.templates import tables

LARGEST = 50_000_000  # bytes of a file of sentences; one for ImageNet has a few million
OPTIONS = maple.OPTIONS | {
    "W": Option(1.0, "weight of consistency", low=0),
    "DISTILL": Option("cosine", "distance to plain CLIP's features", ("cosine", "mse")),
    "SENTENCES": Option("", "JSON file of sentences about each class; '': hand-written templates"),
    "REDUCTION": Option(4, "width of the features over the width inside an adapter", low=1),
    "IMAGE_RATIO": Option(0.1, "share of the image adapter's output", low=0, high=1, decides_test=True),
    "TEXT_RATIO": Option(0.2, "share of the text adapter's output", low=0, high=1, decides_test=True),
}


def check(options: Options, backbone: CLIP) -> None:
    """Prompts that fit, and a file of sentences that is there."""
    maple.check(options, backbone)
    if options.SENTENCES and not Path(options.SENTENCES).expanduser().is_file():
        raise ValueError(f"SENTENCES names {options.SENTENCES!r}, which is no file.")


def sentences(path: Path, names: list[str]) -> list[list[str]]:
    """The j-th sentence of every class, for each j.

    Raises:
        ValueError: the file is no such table, lacks a class, or has classes with different numbers of sentences.
    """
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST:,} bytes, which no table of sentences is.")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}); write {{class name: [sentence, ...]}}.") from error
    rows = [table.get(name.replace("_", " "), table.get(name)) if isinstance(table, dict) else None for name in names]
    for name, row in zip(names, rows, strict=True):
        if not isinstance(row, list) or not row or not all(isinstance(one, str) for one in row):
            raise ValueError(f"{path} has no list of sentences for the class {name!r}.")
    lengths = {len(row) for row in rows if row is not None}
    if len(lengths) > 1:
        raise ValueError(
            f"{path} has {min(lengths)} to {max(lengths)} sentences a class; one number is drawn for all classes, so "
            "that all need as many."
        )
    return [list(column) for column in zip(*(row for row in rows if row is not None), strict=True)]


class SentenceTeacher(nn.Module):
    """Plain CLIP's normalised features of the batch's second view, and of the sentences drawn last.

    Attributes:
        table: (J, K, D) features of the sentences.
        drawn: number of the step's sentence.
    """

    table: Tensor
    drawn: Tensor

    def __init__(self, clip: PromptedCLIP, columns: list[list[str]]) -> None:
        super().__init__()
        features = torch.stack([F.normalize(clip.encode_texts(texts), dim=-1) for texts in columns])
        self.register_buffer("table", features, persistent=False)
        self.register_buffer("drawn", torch.zeros((), dtype=torch.long, device=features.device), persistent=False)

    def draw(self) -> None:
        """Choose the step's sentence."""
        self.choose(int(torch.randint(len(self.table), ())))

    def choose(self, number: int) -> None:
        """Take sentence `number`, from 0."""
        self.drawn.fill_(number)

    def forward(self, clip: PromptedCLIP, images: Tensor, image_features: Tensor) -> tuple[Tensor, Tensor]:
        image = F.normalize(clip.encode_image(images).features, dim=-1)
        return image, self.table.index_select(0, self.drawn[None])[0]


def consistency(distill: str, output: Output) -> Tensor:
    """Distance of both normalised features to the teacher's, summed (Eq. 4-5)."""
    pairs = zip((output.image, output.text), output.teacher, strict=True)
    features = [(F.normalize(ours, dim=-1), theirs) for ours, theirs in pairs]
    if distill == "mse":
        return torch.stack([F.mse_loss(ours, theirs) for ours, theirs in features]).sum()
    return torch.stack([1 - (ours * theirs).sum(-1).mean() for ours, theirs in features]).sum()


def build(setup: Setup) -> PromptLearner:
    """MaPLe's prompts and two adapters, trained with cross-entropy + W * consistency."""
    options = setup.options
    width = setup.clip.model.text_projection.shape[1]
    if options.SENTENCES:
        columns = sentences(Path(options.SENTENCES).expanduser(), setup.classnames)
    else:
        templates = [*tables()["select_7"], setup.dataset_template()]
        print(f"SENTENCES names no file: {len(templates)} hand-written templates stand in for sentences.")
        columns = [fill(template, setup.classnames) for template in templates]
    teacher = SentenceTeacher(setup.clip, columns)
    hidden, ratios = width // options.REDUCTION, (float(options.IMAGE_RATIO), float(options.TEXT_RATIO))
    return PromptLearner(
        maple.prompts(setup),
        CROSS_ENTROPY | {"consistency": Loss(options.W, lambda output, labels: consistency(options.DISTILL, output))},
        corrections=ImageTextAdapters(width, hidden, *ratios),
        teacher=teacher,
        before_step=[teacher.draw],
    )


register(
    Method(
        name="CoPrompt",
        summary="MaPLe with feature adapters, held near plain CLIP's features (arXiv 2306.01195)",
        options=OPTIONS,
        build=build,
        check=check,
        node="COPROMPT",
        folder="MultiModalPromptLearner",
        learns=(*maple.LEARNS, "adapter_image", "adapter_text"),
        needs_vit=True,
        views=2,
    )
)
