"""One look for all figures: small, readable in print, without a colour that must be told from another by hue alone."""

from collections.abc import Sequence
from typing import Any

try:
    import matplotlib
    from matplotlib.figure import Figure
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError('Figures need Matplotlib: run `pip install ".[report]"`.') from missing

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito's colours that are seen on white; markers and dashes tell apart what shares one."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
DASHES = ("-", "--", "-.", ":")
MOST = len(COLOURS)
"""Curves, or classes, of one panel: a colour each."""
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
    "text.parse_math": False,  # a name from a record is no formula
    "pdf.fonttype": 42,  # text stays text: searchable, and accepted by publishers
}
matplotlib.rcParams.update(LOOK)


def subplots(rows: int, columns: int, width: float, height: float, **more: Any) -> tuple[Figure, Any]:
    """A figure of `width` x `height` inches and its axes as a (rows, columns) array."""
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def line_style(place: int) -> dict[str, Any]:
    """Colour, dash and marker of curve number `place`; no combination comes twice below 28."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": DASHES[(place // len(COLOURS)) % len(DASHES)],
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 4,
        "linewidth": 1.4,
    }


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str], columns: int = 4) -> None:
    """One legend for all axes, under them."""
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(handles)), fontsize=8)
