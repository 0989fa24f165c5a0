"""Fig. 5: image and text features in the plane (t-SNE), base and new classes, of runs that kept features.npz."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from report.figures.data import by_backbone, methods
from report.figures.style import COLOURS, subplots
from report.names import dataset_order, shown
from report.records import Record
from report.tables import Tree

NEEDS = (
    "runs with features.npz (TEST.SAVE_FEATURES True) on base or new classes, such as of zero-shot CLIP, CoOp, RESTORE"
)
SPEC = "fig1 TEST.SAVE_FEATURES=True"
MOST = 1500
"""Images drawn of one run, evenly spread over the test list: more make no other picture."""
Features = tuple[np.ndarray, np.ndarray, np.ndarray]


def kept(record: Record) -> Path | None:
    """features.npz of a run on base or new classes, if it is there."""
    file = record.path / "features.npz"
    return file if record.subset in ("base", "new") and file.is_file() else None


def draw(tree: Tree, only: list[str] | None = None) -> list[tuple[str, Any]]:
    """(file stem, figure) for each data set and backbone; of several seeds the first."""
    found = []
    for backbone, named in by_backbone(methods(tree, "fig5", kept, only)):
        datasets = {one.dataset for _, row in named for one in row.finished if kept(one)}
        for dataset in sorted(datasets, key=dataset_order):
            rows = []
            for label, row in named:
                runs = {subset: row.runs(dataset, subset).values() for subset in ("base", "new")}
                first = {subset: next((kept(one) for one in runs[subset] if kept(one)), None) for subset in runs}
                if any(first.values()):
                    rows.append((label, first))
            found.append((f"fig5_{dataset}", picture(rows, f"{shown(dataset)}, {backbone}")))
    return found


def picture(rows: list[tuple[str, dict[str, Path | None]]], title: str) -> Any:
    """A row a method, base left and new right; images small, texts large, a colour a class."""
    figure, axes = subplots(len(rows), 2, 6.4, 0.4 + 3.0 * len(rows))
    for line, (label, files) in zip(axes, rows, strict=True):
        for axis, (subset, file) in zip(line, files.items(), strict=True):
            features = read(file) if file else None
            axis.set_title(f"{label}, {subset} classes" + ("" if features else ": not kept"))
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(True)
            if features:
                scatter(axis, *features)
    figure.suptitle(f"{title}: images small, texts large", fontsize=9)
    return figure


def scatter(axis: Any, images: np.ndarray, labels: np.ndarray, texts: np.ndarray) -> None:
    """Both in one plane; colours repeat beyond seven classes, and the edge's shade then tells them apart."""
    plane = embed(np.concatenate([images, texts]))
    here, there = plane[: len(images)], plane[len(images) :]
    colours = np.array(COLOURS)
    axis.scatter(*here.T, s=5, c=colours[labels % len(COLOURS)], alpha=0.6, linewidths=0, rasterized=True)
    classes = np.arange(len(texts))
    edges = np.array(["white", "#888888", "black"])[(classes // len(COLOURS)) % 3]
    axis.scatter(*there.T, s=60, c=colours[classes % len(COLOURS)], edgecolors=edges, linewidths=1.2, marker="o")


def embed(features: np.ndarray) -> np.ndarray:
    """(N, 2) by t-SNE on cosine distance, with a fixed seed. Raises ModuleNotFoundError without scikit-learn."""
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('Fig. 5 needs scikit-learn: run `pip install ".[report]"`.') from error
    perplexity = max(1.0, min(30.0, (len(features) - 1) / 3))
    return TSNE(2, perplexity=perplexity, metric="cosine", init="random", random_state=0).fit_transform(features)


def read(file: Path) -> Features | None:
    """(N, D) image features, (N,) labels, (K, D) text features; None if the file is damaged. Nothing in it is run."""
    try:
        with np.load(file, allow_pickle=False) as content:
            images, labels, texts = (content[key] for key in ("image_features", "labels", "text_features"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    fits = images.ndim == texts.ndim == 2 and images.shape[1] == texts.shape[1] and labels.shape == images.shape[:1]
    if not fits or len(images) < 3 or labels.dtype.kind not in "iu" or labels.min() < 0:
        return None
    some = np.unique(np.linspace(0, len(images) - 1, min(len(images), MOST)).astype(int))
    return images[some].astype(np.float32), labels[some].astype(np.int64), texts.astype(np.float32)
