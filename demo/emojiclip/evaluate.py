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
    """Indices of `shots` pictures a class, drawn with `seed`."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(labels.numpy() == k))[:shots] for k in labels.unique().tolist()]
    return torch.from_numpy(np.concatenate(chosen))


def main(argv: list[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", default="EmojiCLIP", help="weights (the embedded ones)")
    parser.add_argument("--work", type=Path, help="where artwork.py has put its pictures")
    parser.add_argument("--per-class", action="store_true", help="recall of each class, as Markdown")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    model = load_clip(args.file)
    images, labels, paths, names = read_split("emojinet", "test")
    text = class_features(model, names)
    seen = features_of(model, images)
    cosines = seen @ text.T
    rows = []
    sets = {"EmojiNet, test (Fluent)": (cosines, labels)}
    for style in ("flat", "color"):
        own = torch.tensor([path.endswith(f"_{style}.png") for path in paths])
        sets[f"  {'3D' if style == 'color' else style}"] = (cosines[own], labels[own])
    mono, mono_labels, _, _ = read_split("emojinet_mono", "test")
    sets["EmojiNetMono, test"] = (features_of(model, mono) @ text.T, mono_labels)
    for part in ("artwork", "development") if args.work else ():
        if not (args.work / f"{part}.npy").is_file():
            continue
        about = json.loads((args.work / f"{part}.json").read_text())
        owner = json.loads((ROOT / "demo" / "emojinet_classes.json").read_text())
        number = {subgroup: i for i, subgroups in enumerate(owner.values()) for subgroup in subgroups}
        known = torch.tensor([number.get(one["subgroup"], -1) for one in about])
        drawn = torch.from_numpy(np.load(args.work / f"{part}.npy", mmap_mode="r")[:, 0][(known >= 0).numpy()])
        found = features_of(model, on_white(drawn)) @ text.T
        title = "artwork trained on" if part == "artwork" else "EmojiOne v1 (development)"
        sets[title] = (found, known[known >= 0])
        vendors = [one["vendor"] for one, k in zip(about, known.tolist(), strict=True) if k >= 0]
        if part == "artwork":
            for vendor in sorted(set(vendors)):
                own = torch.tensor([vendor == one for one in vendors])
                sets[f"  {vendor}"] = (found[own], known[known >= 0][own])
    for title, (scores, truth) in sets.items():
        rows.append([title, *(accuracy(scores, truth, among) for among in halves(len(names)).values())])
    print(tabulate(rows, ["zero-shot, %", *halves(len(names))], floatfmt=".1f", tablefmt="github"))

    base = halves(len(names))["base"]
    parts = {}
    for part in ("train", "val"):
        images, truth, _, _ = read_split("emojinet", part)
        parts[part] = (features_of(model, images)[truth < base.stop], truth[truth < base.stop])
    parts["test"] = (seen[labels < base.stop], labels[labels < base.stop])
    full = probe(*(parts[part] for part in ("train", "val", "test")))
    shots = []
    for seed in (1, 2, 3):
        chosen = few(parts["train"][1], 16, seed)
        shots.append(probe(tuple(part[chosen] for part in parts["train"]), parts["val"], parts["test"]))
    mean, spread = np.mean(shots), np.std(shots)
    print(f"\nLinear probe on base: {full:.1f} (all training images), {mean:.1f} ± {spread:.1f} (16 shots)")
    if args.per_class:
        right = (cosines.argmax(1) == labels).float()
        recall = [
            [name, int((labels == k).sum()), 100 * float(right[labels == k].mean())] for k, name in enumerate(names)
        ]
        print("\n" + tabulate(recall, ["class", "images", "recall, %"], floatfmt=".0f", tablefmt="github"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
