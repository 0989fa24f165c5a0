"""Fig. 5: image and text features in the plane (t-SNE), base and new classes, of runs that kept features.npz."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patheffects import withStroke

from report.figures.data import by_backbone, foremost, methods_with
from report.figures.style import COLOURS, MARKERS, MOST, subplots
from report.methods import MethodRuns
from report.names import dataset_order, shown
from report.records import RunRecord
from report.tables import Tree

PER_CLASS = 16
"""Images drawn of one class at most, evenly spread over its test images: more make no other picture."""
METHODS = 4
"""Methods of one figure: what fits a page."""
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
            there = [method for method in methods if any(halves_of(method, dataset).values())]
            kept_ones = foremost(there, [dataset], METHODS)
            files = [(method.label, halves_of(method, dataset)) for method in kept_ones]
            yield f"fig5_{dataset}", picture(files, f"{shown(dataset)}, {backbone}")


def halves_of(method: MethodRuns, dataset: str) -> dict[str, RunRecord | None]:
    """The method's first run with features on either half of the classes."""
    runs = {subset: method.runs(dataset, subset) for subset in ("base", "new")}
    return {
        subset: next((run for _, run in sorted(found.items()) if kept(run)), None) for subset, found in runs.items()
    }


def picture(files: list[tuple[str, dict[str, RunRecord | None]]], title: str) -> Any:
    """Methods below each other, base left and new right; images small, texts large with the class's name.

    Of each half at most seven classes, evenly spread over it: a colour and a mark each. The same images and classes for
    every method.
    """
    figure, axes = subplots(len(files), 2, 7.0, 0.5 + 2.35 * len(files))
    for row, (label, halves) in zip(axes, files, strict=True):
        for axis, (subset, run) in zip(row, halves.items(), strict=True):
            features = read(run.path / "features.npz") if run else None
            axis.set_title(f"{label}, {subset} classes" + ("" if features else ": not kept"))
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(True)
            if features:
                scatter(axis, *features, names_of(run))
    figure.suptitle(f"{title}: images small, class texts large", fontsize=9)
    return figure


def names_of(run: RunRecord) -> list[str]:
    """The run's class names, as far as its record has them."""
    names = run.raw.get("classnames")
    return [str(name) for name in names] if isinstance(names, list) else []


def scatter(axis: Any, images: np.ndarray, labels: np.ndarray, texts: np.ndarray, names: list[str]) -> None:
    """Both in one plane, a colour and a mark a class, and its name at its text."""
    classes = np.unique(np.linspace(0, len(texts) - 1, min(MOST, len(texts))).round().astype(int))
    chosen = np.concatenate([spread(np.flatnonzero(labels == one)) for one in classes])
    plane = embed(np.concatenate([images[chosen], texts[classes]]))
    here, there = plane[: len(chosen)], plane[len(chosen) :]
    written = []
    for place, one in enumerate(classes):
        style = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
        axis.scatter(*here[labels[chosen] == one].T, s=9, alpha=0.55, linewidths=0, **style)
    for place, one in enumerate(classes):
        style = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
        axis.scatter(*there[place], s=70, edgecolors="white", linewidths=1, zorder=5, **style)
        name = names[one] if one < len(names) else str(one)
        written.append((there[place], name if len(name) < 22 else f"{name[:20]}…", style["color"]))
    label_points(axis, written)
    axis.margins(0.08)


def label_points(axis: Any, written: list[tuple[np.ndarray, str, str]]) -> None:
    """Names beside their points: on the side where there is room, and below each other where points are close."""
    axis.autoscale_view()
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    taken: list[tuple[float, float]] = []
    for (x, y), name, colour in sorted(written, key=lambda one: -one[0][1]):
        on_left = (x - left) / (right - left) > 0.6
        height = (y - bottom) / (top - bottom)
        while any(abs(height - other) < 0.055 and abs(x - at) < 0.45 * (right - left) for at, other in taken):
            height -= 0.02
        taken.append((x, height))
        axis.annotate(
            name, (x, y), (-6 if on_left else 6, (height - (y - bottom) / (top - bottom)) * 150),
            textcoords="offset points", ha="right" if on_left else "left", va="center", fontsize=7, color=colour,
            path_effects=[withStroke(linewidth=2, foreground="white")], zorder=4,
        )  # fmt: skip


def spread(places: np.ndarray) -> np.ndarray:
    """At most PER_CLASS of `places`, evenly spread."""
    return places[np.unique(np.linspace(0, len(places) - 1, min(PER_CLASS, len(places))).astype(int))]


def embed(features: np.ndarray) -> np.ndarray:
    """(N, 2) by t-SNE on cosine distance, with a fixed seed. Raises ModuleNotFoundError without scikit-learn."""
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('Fig. 5 needs scikit-learn: run `pip install ".[report]"`.') from error
    perplexity = max(1.0, min(30.0, (len(features) - 1) / 3))
    return TSNE(2, perplexity=perplexity, metric="cosine", init="pca", random_state=0, max_iter=300).fit_transform(
        features
    )


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
    images, texts = images.astype(np.float32), texts.astype(np.float32)
    if not (np.isfinite(images).all() and np.isfinite(texts).all()):
        return None
    return images, labels.astype(np.int64), texts
