"""Draw every figure for which there are data, and name the others with what makes their data."""

from itertools import count
from pathlib import Path
from typing import Any

from report.figures import base_and_new, curves, tsne
from report.tables import Tree

FIGURES = {
    "1": (base_and_new.draw_probability, "mean_true_probability, of zero-shot CLIP and of CoOp", "fig1"),
    "3": (base_and_new.draw_discrepancy, "discrepancy, of two methods or more, and zero-shot CLIP beside", "table1"),
    "4": (base_and_new.draw_shift, "feature_shift, such as those of IVLP, VPT, LPT and IVLP + L^fs", "fig4"),
    "5": (tsne.draw, "features.npz (TEST.SAVE_FEATURES True)", "fig1 TEST.SAVE_FEATURES=True"),
    "curves": (curves.draw, "history.json", "table1"),
}
"""What draws it, what it needs records with, and the sweep that makes those."""


def draw(
    tree: Tree, wanted: list[str] | None = None, only: list[str] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """{file stem: figure} and, for each figure without data, a sentence on what it needs.

    Args:
        wanted: keys of FIGURES; all if None.
        only: labels or trainers to show; all if None.
    """
    found: dict[str, Any] = {}
    lacking = []
    for name in wanted or FIGURES:
        draw_one, needs, sweep = FIGURES[name]
        drawn = list(draw_one(tree, only))
        for stem, figure in drawn:
            names = (f"{safe(stem)}-{place}" if place > 1 else safe(stem) for place in count(1))
            found[next(free for free in names if free not in found)] = figure
        if not drawn:
            title = (
                "Training curves need runs" if name == "curves" else f"Fig. {name} needs runs on base and new classes"
            )
            lacking.append(f"{title} with {needs}: `python sweep.py {sweep}` makes them.")
    return found, lacking


def safe(stem: str) -> str:
    """A file name: a data set's name may hold anything."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in stem)[:100]


def write(figures: dict[str, Any], folder: Path) -> list[Path]:
    """Save all as PNG and PDF below `folder`. The same runs give the same files: no time of writing is in them."""
    paths = []
    for stem, figure in figures.items():
        folder.mkdir(parents=True, exist_ok=True)
        for ending, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):
            paths.append(folder / f"{stem}.{ending}")
            figure.savefig(paths[-1], dpi=200, metadata=metadata)
    return paths
