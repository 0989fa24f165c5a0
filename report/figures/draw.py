"""Draw every figure for which there are data, and name the others with what makes their data."""

from pathlib import Path
from typing import Any

from report.figures import curves, discrepancy, probability, shift, style, tsne
from report.tables import Tree

FIGURES = {"1": probability, "3": discrepancy, "4": shift, "5": tsne, "curves": curves}


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
        module = FIGURES[name]
        drawn = module.draw(tree, only)
        for stem, figure in drawn:
            same = sum(key.split("-")[0] == stem for key in found)
            found[f"{stem}-{same + 1}" if same else stem] = figure
        if not drawn:
            title = "Training curves need" if name == "curves" else f"Fig. {name} needs"
            lacking.append(f"{title} {module.NEEDS}: `python sweep.py {module.SPEC}` makes them.")
    return found, lacking


def write(figures: dict[str, Any], folder: Path) -> list[Path]:
    """Save all as PNG and PDF below `folder`."""
    return [path for stem, figure in figures.items() for path in style.write(figure, folder / safe(stem))]


def safe(stem: str) -> str:
    """A file name: a data set's name may hold anything."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in stem)
