"""One look for all figures: small, readable in print, without a colour that must be told from another by hue alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

try:
    import matplotlib
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError('Figures need Matplotlib: run `pip install ".[report]"`.') from missing

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito's colours that are seen on white; markers and dashes tell apart what shares one."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
DASHES = ("-", "--", "-.", ":")
SUBSETS = {"base": ("#0072B2", "base classes", ""), "new": ("#E69F00", "new classes", "//")}
LOOK = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,  # text stays text: searchable, and accepted by publishers
}
plt.rcParams.update(LOOK)


def subplots(rows: int, columns: int, width: float, height: float, **more: Any) -> tuple[Any, Any]:
    """A figure of `width` x `height` inches and its axes as a (rows, columns) array."""
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **more)


def line_style(place: int) -> dict[str, Any]:
    """Colour, dash and marker of the line number `place`; none comes twice below 28."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": DASHES[(place // len(COLOURS)) % len(DASHES)],
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 4,
        "linewidth": 1.4,
    }


def write(figure: Any, stem: Path) -> list[Path]:
    """Save as PNG and PDF and close."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "pdf")]
    for path in paths:
        # no time of writing inside: the same runs give the same file
        metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
        figure.savefig(path, dpi=200, metadata=metadata)
    close(figure)
    return paths


def close(figure: Any) -> None:
    """Give its memory back."""
    plt.close(figure)


def legend_below(figure: Any, handles: Sequence[Any], labels: Sequence[str], columns: int = 4) -> None:
    """One legend for all axes, under them."""
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(handles)), fontsize=8)
