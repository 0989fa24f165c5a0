"""Fig. 5: image and text features in the plane (t-SNE), base and new classes, of runs that kept features.npz."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from report.figures.data import by_backbone, methods_with
from report.figures.style import COLOURS, subplots
from report.names import dataset_order, shown
from report.records import RunRecord
from report.tables import Tree

MOST = 1500
"""Images drawn of one run, evenly spread over the test list: more make no other picture."""
LARGEST = 2_000_000_000
"""Bytes of unpacked features; those of ImageNet have some hundred million."""


def kept(record: RunRecord) -> Path | None:
    """features.npz of a run on base or new classes, if it is there."""
    file = record.path / "features.npz"
    return file if record.subset in ("base", "new") and file.is_file() else None


def draw(tree: Tree, only: list[str] | None = None) -> Iterator[tuple[str, Any]]:
    """(file stem, figure) for each data set and backbone; of several seeds the first."""
    for backbone, methods in by_backbone(methods_with(tree, "fig5", kept, only)):
        datasets = {one.dataset for method in methods for one in method.finished if kept(one)}
        for dataset in sorted(datasets, key=dataset_order):
            files = []
            for method in methods:
                runs = {subset: method.runs(dataset, subset).values() for subset in ("base", "new")}
                halves = {subset: next(filter(None, map(kept, found)), None) for subset, found in runs.items()}
                files += [(method.label, halves)] if any(halves.values()) else []
            yield f"fig5_{dataset}", picture(files, f"{shown(dataset)}, {backbone}")


def picture(files: list[tuple[str, dict[str, Path | None]]], title: str) -> Any:
    """Methods below each other, base left and new right; images small, texts large, a colour for each class."""
    figure, axes = subplots(len(files), 2, 6.4, 0.4 + 3.0 * len(files))
    for row, (label, halves) in zip(axes, files, strict=True):
        for axis, (subset, file) in zip(row, halves.items(), strict=True):
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


def read(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(N, D) image features, (N,) labels, (K, D) text features; None if the file is damaged. Nothing in it is run."""
    try:
        with zipfile.ZipFile(file) as archive:
            if sum(part.file_size for part in archive.infolist()) > LARGEST:
                return None
        with np.load(file, allow_pickle=False) as content:
            images, labels, texts = (content[key] for key in ("image_features", "labels", "text_features"))
    except (OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None
    fits = images.ndim == texts.ndim == 2 and images.shape[1] == texts.shape[1] > 0 and labels.shape == images.shape[:1]
    kinds = images.dtype.kind + texts.dtype.kind + labels.dtype.kind
    if not fits or kinds not in ("ffi", "ffu") or len(images) < 3 or labels.min() < 0:
        return None
    some = np.unique(np.linspace(0, len(images) - 1, min(len(images), MOST)).astype(int))
    images, texts = images[some].astype(np.float32), texts.astype(np.float32)
    if not (np.isfinite(images).all() and np.isfinite(texts).all()):
        return None
    return images, labels[some].astype(np.int64), texts
