"""Draw every figure for which there are data, and name the others with what makes their data."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from report.figures import base_and_new, confusion, curves, discrepancy, reliability, tsne
from report.tables import Tree

Drawer = Callable[[Tree, list[str] | None], Iterator[tuple[str, Any]]]
ON_BOTH = "runs on base and new classes with"
FIGURES: dict[str, tuple[str, Drawer, str, str]] = {
    "1": ("Fig. 1", base_and_new.draw_probability, f"{ON_BOTH} mean_true_probability, of CLIP and CoOp", "fig1"),
    "3": ("Fig. 3", discrepancy.draw, f"{ON_BOTH} discrepancy, of two methods, and zero-shot CLIP beside", "table1"),
    "4": ("Fig. 4", base_and_new.draw_shift, f"{ON_BOTH} feature_shift, such as those of IVLP, VPT, LPT", "fig4"),
    "5": ("Fig. 5", tsne.draw, f"{ON_BOTH} features.npz (TEST.SAVE_FEATURES True)", "fig1 TEST.SAVE_FEATURES=True"),
    "curves": ("Training curves", curves.draw, "runs with history.json", "table1"),
    "reliability": ("Reliability", reliability.draw, f"{ON_BOTH} reliability (schema 3)", "table1"),
    "joint": ("Base against new", reliability.draw_joint, "evaluations of all classes, with joint", "table1"),
    "confusion": ("Confusion pairs", confusion.draw, f"{ON_BOTH} predictions.csv", "table1"),
}
"""What it is called, what draws it, what it needs, and the sweep that makes that."""


def draw(
    tree: Tree,
    wanted: list[str] | None = None,
    only: list[str] | None = None,
    say: Callable[[str], None] = lambda name: None,
) -> tuple[dict[str, Any], list[str]]:
    """{file stem: figure} and, for each figure without data, a sentence on what it needs.

    Args:
        tree: the runs.
        wanted: keys of FIGURES; all if None.
        only: labels or trainers to show; all if None.
        say: called with a figure's name before it is drawn.
    """
    found: dict[str, Any] = {}
    lacking = []
    for name in wanted or FIGURES:
        title, draw_one, needs, sweep = FIGURES[name]
        say(title)
        drawn = list(draw_one(tree, only))
        for stem, figure in drawn:
            names = (f"{safe(stem)}-{place}" if place > 1 else safe(stem) for place in count(1))
            found[next(free for free in names if free not in found)] = figure
        if not drawn:
            verb = "need" if title.endswith("s") else "needs"
            lacking.append(f"{title} {verb} {needs}: `python sweep.py {sweep}` makes them.")
    return found, lacking


def safe(stem: str) -> str:
    """A file name: a data set's name may hold anything."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in stem)[:100]


METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None}}
"""The same runs give the same files: no time of writing is in them."""


def write(figures: dict[str, Any], folder: Path, kinds: Sequence[str] = tuple(METADATA)) -> Iterator[Path]:
    """Save all below `folder`, as PNG and PDF or one of them, file by file."""
    for stem, figure in figures.items():
        folder.mkdir(parents=True, exist_ok=True)
        for kind in kinds:
            path = folder / f"{stem}.{kind}"
            figure.savefig(path, dpi=160, metadata=METADATA[kind])
            figure.set_layout_engine("none")  # what the first has worked out stays
            yield path
