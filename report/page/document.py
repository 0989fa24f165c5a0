"""The page: tables, figures, classes, mistakes and runs in one file that needs no network and runs no record."""

import base64
import io
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from report import tables as paper
from report.page import classes, mistakes, tables
from report.page.runs import Runs
from report.rows import Row, named_rows
from report.tables import Tree

HERE = Path(__file__).parent
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
TITLE = "RESTORE: results"


@dataclass(frozen=True)
class Wish:
    """What the page is to hold: published numbers beside, where images are, how many mistakes a method."""

    published: bool = False
    data: Path | None = None
    mistakes: int = 6


def write(tree: Tree, file: Path, wish: Wish) -> list[str]:
    """Write the page to `file`; sentences on what it lacks."""
    named = shown_rows(tree)
    runs, images = Runs(tree.records), mistakes.Images(wish.data)
    built, lacking = paper.build(tree)
    figures, without = pictures(tree)
    thumbnails = mistakes.html(named, runs, images, wish.mistakes)
    if images.missing:
        where = ", ".join(sorted(images.tried)) or "any known root"
        lacking.append(f"{len(images.missing)} images of mistakes are not below {where}; name their root with --data.")
    lacking += without
    sections = {
        "tables": ("Tables", tables.html(built, runs, wish.published)),
        "figures": ("Figures", "\n".join(figures)),
        "classes": ("Accuracy by class", classes.html(named, runs)),
        "mistakes": ("Worst mistakes", with_lead(thumbnails)),
        "runs": ("Runs", runs.html()),
        "lacking": ("What is not here", "".join(f'<p class="note">{escape(one)}</p>' for one in lacking)),
    }
    there = {key: section for key, section in sections.items() if section[1]}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(assemble(tree, there), encoding="utf-8")
    return lacking


def shown_rows(tree: Tree) -> list[tuple[str, Row]]:
    """Every row once, the ones of Table 1's sweeps first; an ablation's variants last."""
    first = named_rows(tree.rows, tree.sweeps, "table1")
    taken = {id(row) for _, row in first}
    return first + [(row.label, row) for row in tree.rows if id(row) not in taken]


def with_lead(thumbnails: str) -> str:
    """What the mistakes are, if there are any."""
    lead = "Wrong predictions that gave the true class the least probability: predicted class, true class, probability."
    return f'<p class="quiet">{lead}</p>\n{thumbnails}' if thumbnails else ""


def pictures(tree: Tree) -> tuple[list[str], list[str]]:
    """The figures as HTML, and what others need; without Matplotlib that it is missing."""
    try:
        from report.figures import draw

        figures, lacking = draw.draw(tree)
    except ModuleNotFoundError as error:
        return [], [str(error)]
    return [picture(stem, figure) for stem, figure in figures.items()], lacking


def picture(stem: str, figure: Any) -> str:
    """A figure as a PNG inside the page."""
    from report.figures.style import close

    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130, metadata={"Software": None})
    close(figure)
    address = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    name, width = caption(stem), f"--w:{80 * figure.get_figwidth():.0f}px"  # on a phone it is not made illegible
    image = f'<img src="{address}" alt="{escape(name)}" style="{width}">'
    return f"<figure>{image}<figcaption>{escape(name)}</figcaption></figure>"


def caption(stem: str) -> str:
    """What a figure shows."""
    said = {
        "fig1": "Fig. 1: probability of the true class, and accuracy; bars ± deviation over seeds.",
        "fig3": "Fig. 3: discrepancy between the modalities' feature shift against the gain over zero-shot CLIP.",
        "fig4": "Fig. 4: feature shift a block, mean and spread over samples, and accuracy with deviation over seeds.",
        "fig5": "Fig. 5: t-SNE of image features (small) and text features (large), a colour a class.",
        "curves": "Training curves.",
    }
    return next(words for start, words in said.items() if stem.startswith(start))


def assemble(tree: Tree, sections: dict[str, tuple[str, str]]) -> str:
    """The whole document."""
    finished = sum(record.complete for record in tree.records)
    waiting = len(tree.records) - finished
    told = f"{finished} finished runs below {tree.output}" + (f", {waiting} unfinished" if waiting else "")
    links = "".join(f'<a href="#{key}">{name}</a>' for key, (name, _) in sections.items())
    body = "\n".join(
        f'<section id="{key}"><h2>{name}</h2>\n{html}\n</section>' for key, (name, html) in sections.items()
    )
    style, script = ((HERE / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{TITLE}</title>
<style>
{style}</style>
</head>
<body>
<header><h1>{TITLE}</h1>
<p class="quiet">{escape(told)}. Press a number to see the runs behind it and the commands that repeat them; press a \
heading to sort.</p></header>
<nav><div>{links}</div></nav>
<main>
{body}
</main>
<dialog><h3></h3><p class="quiet"></p><div class="list"></div><p><button type="button">Close</button></p></dialog>
<script>
{script}</script>
</body>
</html>
"""
