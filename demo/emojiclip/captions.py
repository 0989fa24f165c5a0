"""What is said of pictures: class words, names and keywords, each with the point that its features should reach."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

HERE = Path(__file__).parent
PLAIN = "a photo of a {}."
COMMON_KEYWORD = 60  # a keyword of more motifs than this says little about a picture
# Our own ways of saying it; the field's templates come on top, see `templates`.
FRAMES = (
    "{}",
    "a {}",
    "the {}",
    "a picture of a {}.",
    "an image of a {}",
    "an emoji of a {}.",
    "{} emoji",
    "a drawing of a {}.",
    "a small colourful drawing that shows a {}.",
    "this is a {}.",
    "there is a {} in the picture.",
    "a photo of a {}, a type of emoji.",
)


@dataclass
class Captions:
    """Phrases by kind, each with a row of `targets` (N, D), normalised: where the picture tower puts what they name."""

    phrases: dict[str, list[tuple[str, int]]]
    targets: Tensor


def templates(root: Path) -> list[str]:
    """The field's 60 templates for text ensembles, from the project's data."""
    return json.loads((root / "trainers" / "templates.json").read_text())["promptsrc_60"]


def collect(about: list[dict], names: dict[str, list[str]], motif: Tensor, subgroup: Tensor) -> Captions:
    """Phrases of kind "class", "label" and "keyword" for the pictures `about`.

    `names` numbers the rows of the learned embeddings `motif` and `subgroup`. A word for several subgroups or motifs
    aims at their mean. subgroups.json speaks of subgroups in other words than EmojiNet's class names, so that zero-shot
    these are no more than words that the emoji's own names and keywords may hold, as in the captions CLIP has read.
    """
    place = {kind: {name: i for i, name in enumerate(found)} for kind, found in names.items()}
    motif, subgroup = F.normalize(motif, dim=-1), F.normalize(subgroup, dim=-1)
    meant: dict[tuple[str, str], set[int]] = {}
    words = json.loads((HERE / "subgroups.json").read_text())
    for name, phrases in words.items():
        for phrase in phrases:
            meant.setdefault(("class", phrase), set()).add(place["subgroup"][name])
    for one in about:
        row = place["motif"][one["motif"]]
        meant.setdefault(("label", one["label"]), set()).add(row)
        for keyword in one["keywords"]:
            meant.setdefault(("keyword", keyword.lower()), set()).add(row)
    found: dict[str, list[tuple[str, int]]] = {"class": [], "label": [], "keyword": []}
    targets = []
    class_words = {phrase for kind, phrase in meant if kind == "class"}
    for (kind, phrase), rows in sorted(meant.items()):
        if kind != "class" and (phrase in class_words or len(rows) > COMMON_KEYWORD):
            continue
        table = subgroup if kind == "class" else motif
        found[kind].append((phrase, len(targets)))
        targets.append(F.normalize(table[sorted(rows)].mean(0), dim=-1))
    return Captions(found, torch.stack(targets))
