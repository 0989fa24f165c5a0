"""The figures of EmojiCLIP's model card: zero-shot, linear probe, recall of each class.

python demo/emojiclip/evaluate.py [--file promptclip/weights/emojiclip.pt] [--work build/emojiclip] [--per-class]

EmojiNet's test images (Fluent, never trained on) need nothing but the repository; the figures on the artwork that it
was trained on need --work, where artwork.py has put it.
"""

import argparse
import json
import sys
from pathlib import Path

import clip
import numpy as np
import torch
from augment import normalise, on_white
from PIL import Image
from sklearn.linear_model import LogisticRegression
from tabulate import tabulate
from torch import Tensor
from torch.nn import functional as F

from promptclip import load_clip

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = "a photo of a {}."
STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)  # of the linear probe's inverse regularisation; validation images choose


def features_of(model: torch.nn.Module, images: Tensor) -> Tensor:
    """Normalised (N, D) of (N, 3, 64, 64) of 0..1."""
    with torch.no_grad():
        return F.normalize(torch.cat([model.encode_image(normalise(part)) for part in images.split(256)]), dim=-1)


def class_features(model: torch.nn.Module, names: list[str]) -> Tensor:
    """Normalised (K, D) of class names in the usual template."""
    with torch.no_grad():
        return F.normalize(model.encode_text(clip.tokenize([TEMPLATE.format(name) for name in names])), dim=-1)


def read_split(data_set: str, part: str) -> tuple[Tensor, Tensor, list[str], list[str]]:
    """Images 0..1, labels, file names and class names of one part of an embedded data set."""
    folder = ROOT / "datasets" / "embedded" / data_set
    name = {"emojinet": "EmojiNet", "emojinet_mono": "EmojiNetMono"}[data_set]
    rows = json.loads((folder / f"split_zhou_{name}.json").read_text())
    pixels = [np.asarray(Image.open(folder / "images" / path).convert("RGB")) for path, _, _ in rows[part]]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    names = {label: name for label, name in ((row[1], row[2]) for row in rows["test"])}
    labels = torch.tensor([label for _, label, _ in rows[part]])
    return images, labels, [path for path, _, _ in rows[part]], [names[label] for label in sorted(names)]


def accuracy(cosines: Tensor, labels: Tensor, among: range) -> float:
    """Percent right of the pictures whose class is `among`, choosing among these classes."""
    own = (labels >= among.start) & (labels < among.stop)
    found = cosines[own][:, among.start : among.stop].argmax(1) + among.start
    return 100 * float((found == labels[own]).float().mean())


def halves(count: int) -> dict[str, range]:
    """All classes, the base half and the new half."""
    return {"all": range(count), "base": range((count + 1) // 2), "new": range((count + 1) // 2, count)}


def probe(train: tuple, validation: tuple, test: tuple) -> float:
    """Test accuracy of logistic regression on features; (features, labels) each."""
    best = (-1.0, 0.0)
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=2000).fit(*train)
        best = max(best, (model.score(*validation), model.score(*test)), key=lambda pair: pair[0])
    return 100 * best[1]


def few(labels: Tensor, shots: int, seed: int) -> Tensor:
    """Indices of `shots` pictures per class, drawn with `seed`."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(labels.numpy() == k))[:shots] for k in labels.unique().tolist()]
    return torch.from_numpy(np.concatenate(chosen))


def zero_shot(model: torch.nn.Module, work: Path | None) -> tuple[dict[str, tuple[Tensor, Tensor]], list[str]]:
    """({title: (cosines (N, K), labels (N,))} of all sets of pictures, the K class names); the first is EmojiNet's."""
    images, labels, paths, names = read_split("emojinet", "test")
    text = class_features(model, names)
    cosines = features_of(model, images) @ text.T
    sets = {"EmojiNet, test (Fluent)": (cosines, labels)}
    for style, title in (("flat", "flat"), ("color", "3D")):
        own = torch.tensor([path.endswith(f"_{style}.png") for path in paths])
        sets[f"  {title}"] = (cosines[own], labels[own])
    mono, mono_labels, _, _ = read_split("emojinet_mono", "test")
    sets["EmojiNetMono, test"] = (features_of(model, mono) @ text.T, mono_labels)
    if work and (work / "artwork.npy").is_file():
        cosines, labels, vendors = artwork(model, text, work, "artwork")
        sets["artwork trained on"] = (cosines, labels)
        for vendor in sorted(set(vendors)):
            own = torch.tensor([vendor == one for one in vendors])
            sets[f"  {vendor}"] = (cosines[own], labels[own])
    if work and (work / "development.npy").is_file():
        sets["EmojiOne v1 (development)"] = artwork(model, text, work, "development")[:2]
    return sets, names


def artwork(model: torch.nn.Module, text: Tensor, work: Path, name: str) -> tuple[Tensor, Tensor, list[str]]:
    """Cosines, labels and vendors of the drawings in `work`/`name`.npy that belong to a class."""
    about = json.loads((work / f"{name}.json").read_text())
    classes = json.loads((ROOT / "demo" / "emojinet_classes.json").read_text())
    number = {subgroup: i for i, subgroups in enumerate(classes.values()) for subgroup in subgroups}
    labels = torch.tensor([number.get(one["subgroup"], -1) for one in about])
    used = labels >= 0
    pictures = torch.from_numpy(np.load(work / f"{name}.npy", mmap_mode="r")[:, 0][used.numpy()])
    vendors = [one["vendor"] for one, use in zip(about, used.tolist(), strict=True) if use]
    return features_of(model, on_white(pictures)) @ text.T, labels[used], vendors


def linear_probe(model: torch.nn.Module) -> tuple[float, list[float]]:
    """Test accuracy on EmojiNet's base classes: from all training images, and from 16 shots of seeds 1 to 3."""
    parts = {}
    for part in ("train", "val", "test"):
        images, labels, _, names = read_split("emojinet", part)
        base = labels < halves(len(names))["base"].stop
        parts[part] = (features_of(model, images)[base], labels[base])
    shots = []
    for seed in (1, 2, 3):
        chosen = few(parts["train"][1], 16, seed)
        shots.append(probe(tuple(part[chosen] for part in parts["train"]), parts["val"], parts["test"]))
    return probe(parts["train"], parts["val"], parts["test"]), shots


def main(argv: list[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", default="EmojiCLIP", help="weights (the embedded ones)")
    parser.add_argument("--work", type=Path, help="where artwork.py has put its pictures")
    parser.add_argument("--per-class", action="store_true", help="recall of each class, as Markdown")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    model = load_clip(args.file, "quickgelu")
    sets, names = zero_shot(model, args.work)
    subsets = halves(len(names))
    rows = [[title, *(accuracy(*scored, among) for among in subsets.values())] for title, scored in sets.items()]
    print(tabulate(rows, ["zero-shot, %", *subsets], floatfmt=".1f", tablefmt="github"))
    full, shots = linear_probe(model)
    few_shots = f"{np.mean(shots):.1f} ± {np.std(shots):.1f} (16 shots)"
    print(f"\nLinear probe on base: {full:.1f} (all training images), {few_shots}")
    if args.per_class:
        cosines, labels = next(iter(sets.values()))
        right = (cosines.argmax(1) == labels).float()
        recall = [
            [name, int((labels == k).sum()), 100 * float(right[labels == k].mean())] for k, name in enumerate(names)
        ]
        print("\n" + tabulate(recall, ["class", "images", "recall, %"], floatfmt=".0f", tablefmt="github"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
