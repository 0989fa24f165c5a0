"""Tables 1-5 as HTML: sortable, each number with the runs behind it."""

from html import escape

from report.model import Block, Cell, Line, Table
from report.page.runs import Runs, origin
from report.text import Style, caption, remarks, with_spread


def html(tables: list[Table], runs: Runs, published: bool) -> str:
    """All tables with their remarks."""
    parts = []
    for table in tables:
        parts.append(f'<h3 id="table{table.number}">{escape(caption(table))}</h3>')
        parts += [block_html(block, runs, published) for block in table.blocks]
        said = remarks(table, Style(published=published, bold="markdown"))
        parts += [f'<p class="note">{escape(sentence)}</p>' for sentence in said]
    return "\n".join(parts)


def block_html(block: Block, runs: Runs, published: bool) -> str:
    """One table, in a box that scrolls sideways where the screen is narrow."""
    head = "".join(heading(name) for name in (block.title or "method", *block.columns)) + "<th>seeds</th>"
    body = "\n".join(line_html(line, block, runs, published) for line in block.lines)
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def heading(name: str) -> str:
    """A heading that sorts."""
    return f'<th scope="col"><button type="button">{escape(name)}</button></th>'


def line_html(line: Line, block: Block, runs: Runs, published: bool) -> str:
    """One method."""
    cells = [
        cell_html(cell, ", ".join(filter(None, (line.label, block.title, column))), runs, published)
        for column, cell in zip(block.columns, line.cells, strict=True)
    ]
    return f'<tr><th scope="row">{escape(line.label)}</th>{"".join(cells)}<td>{escape(line.seeds)}</td></tr>'


def cell_html(cell: Cell, title: str, runs: Runs, published: bool) -> str:
    """One number; pressed, it shows its runs."""
    beside = ""
    if published and cell.published is not None:
        difference = f" ({cell.difference:+.1f})" if cell.difference is not None else ""
        beside = f"<small>publ. {cell.published:.2f}{difference}</small>"
    if cell.summary is None:
        return f'<td class="missing" data-value="">missing{beside}</td>'
    shown = with_spread(cell.summary.mean, cell.summary.std)
    told = origin(dict(cell.summary.values), cell.summary.std, interval(cell))
    link = number(shown, [runs.id(run) for run in cell.runs], title, told)
    return f'<td{" class=best" if cell.best else ""} data-value="{cell.summary.mean:.6f}">{link}{beside}</td>'


def number(shown: str, ids: list[str], title: str, told: str) -> str:
    """A link to the first run behind a number; with a script, a list of all of them."""
    names = {"data-runs": " ".join(dict.fromkeys(ids)), "data-title": title, "title": told}
    attributes = " ".join(f'{key}="{escape(value)}"' for key, value in names.items())
    return f'<a href="#{ids[0]}" {attributes}>{escape(shown)}</a>'


def interval(cell: Cell) -> float | None:
    """The 95 % interval; None where SciPy is not installed."""
    try:
        return cell.summary.interval
    except ModuleNotFoundError:
        return None
