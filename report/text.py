"""What a cell says, and tables as terminal text, Markdown and LaTeX; the numbers alone as CSV."""

import csv
import io
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from tabulate import tabulate

from report.model import Block, Cell, Line, Table
from report.names import METHODS

MISSING = "missing"
BOLD = {
    "plain": lambda words: f"{words} *",
    "ansi": lambda words: f"\x1b[1m{words}\x1b[0m",
    "markdown": lambda words: f"**{words}**",
    "latex": lambda words: rf"\textbf{{{words}}}",
}


@dataclass(frozen=True)
class Style:
    """What is asked for: digits after the point, `spread` std or ci95, published numbers, and how bold is written."""

    digits: int = 1
    spread: str = "std"
    published: bool = False
    bold: str = "plain"

    def write(self, one: Cell) -> str:
        """`mean ± spread`; a single seed has no spread; a missing cell says so."""
        if one.summary is None:
            return MISSING
        spread = one.summary.std if self.spread == "std" else one.summary.interval
        words = with_spread(one.summary.mean, spread, self.digits)
        return BOLD[self.bold](words) if one.best else words

    def legend(self, table: Table) -> str:
        """What the spread is, and how the best is marked if any is."""
        several = any(one.summary and one.summary.n > 1 for one in all_cells(table))
        spread = {
            "std": "± standard deviation over seeds (population, ddof 0, as in the field)",
            "ci95": "± half width of the 95 % interval of the mean over seeds (Student's t)",
        }
        best = "* best of its column" if self.bold == "plain" else "bold: best of its column"
        said = [spread[self.spread]] if several else []
        said += [best] if any(one.best for one in all_cells(table)) else []
        return f"Accuracy in %; {'; '.join(said)}." if said else "Accuracy in %."


def with_spread(mean: float, spread: float | None, digits: int = 1) -> str:
    """`mean ± spread`."""
    return f"{mean:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread is not None else "")


def all_cells(table: Table) -> list[Cell]:
    """Every cell of a table."""
    return [one for block in table.blocks for line in block.lines for one in line.cells]


def rows_of(block: Block, style: Style) -> list[list[str]]:
    """The rows of a block as texts: a line, and below it what is published and the difference, if asked for."""
    rows = []
    for line in block.lines:
        rows.append([line.label, *map(style.write, line.cells), line.seeds])
        if style.published and any(one.published is not None for one in line.cells):
            rows.append(["  published", *(figure(one.published, "") for one in line.cells), ""])
            rows.append(["  difference", *(figure(one.difference, "+", style.digits) for one in line.cells), ""])
    return aligned(rows) if style.bold == "plain" else rows


def aligned(rows: list[list[str]]) -> list[list[str]]:
    """The rows with numbers below each other in columns where one of them has a star."""
    columns = []
    for column in zip(*rows, strict=True):
        starred = any(words.endswith(" *") for words in column)
        columns.append([words + "  " if starred and words and words[-1] != "*" else words for words in column])
    return [list(row) for row in zip(*columns, strict=True)]


def figure(value: float | None, sign: str, digits: int = 2) -> str:
    """A number, or nothing; published numbers have the two digits they are printed with."""
    return "" if value is None else f"{value:{sign}.{digits}f}"


def remarks(table: Table, style: Style) -> list[str]:
    """The lines below a table."""
    said = [style.legend(table), *table.notes]
    if style.published:
        if any(one.published is not None for one in all_cells(table)):
            said.append("Published: ViT-B/16, 16 shots, each method with its own settings; difference: ours minus it.")
        else:
            said.append("Nothing is published of these methods on these data sets with this backbone and these shots.")
    if any("/" in line.seeds for block in table.blocks for line in block.lines):
        said.append("(1/11): has runs on both halves of 1 of the 11 data sets, so there is no average.")
    if any(one.from_log for cell_ in all_cells(table) for one in cell_.runs):
        said.append("Rows from logs rest on accuracies with one decimal.")
    return said


def caption(table: Table) -> str:
    """Number, title and setting."""
    return f"Table {table.number}. {table.title}" + (f": {table.setting}" if table.setting else "")


def terminal(tables: list[Table], style: Style) -> str:
    """Plain text; a block that is wider than the terminal (80 where there is none) goes on below with other columns."""
    width = max(80, shutil.get_terminal_size().columns) if style.bold == "ansi" else 80
    parts = []
    for table in tables:
        parts.append(f"{caption(table)}\n")
        for block in table.blocks:
            head = [block.title or "method", *block.columns, "seeds"]
            parts += [f"{piece}\n" for piece in split(head, rows_of(block, style), width)]
        parts += [textwrap.fill(said, width) for said in remarks(table, style)] + [""]
    return "\n".join(parts)


def split(head: list[str], rows: list[list[str]], width: int) -> list[str]:
    """As few tables of about as many columns, the first one repeated, as keep to `width` (or one column each)."""
    last = len(head)
    pieces: list[str] = []
    for count in range(1, last):
        edges = [1 + (last - 1) * part // count for part in range(count + 1)]
        pieces = [print_columns(head, rows, list(range(*ends))) for ends in pairwise(edges)]
        if all(len(piece.splitlines()[1]) <= width for piece in pieces):
            break
    return pieces


def print_columns(head: list[str], rows: list[list[str]], places: list[int]) -> str:
    """The first column and those at `places`."""
    chosen = [0, *places]
    align = ("left", *["right"] * len(places))
    body = [[row[place] for place in chosen] for row in rows]
    header = [head[place] for place in chosen]
    return tabulate(body, header, "simple", disable_numparse=True, colalign=align, preserve_whitespace=True)


def markdown(tables: list[Table], style: Style) -> str:
    """Tables that GitHub renders; the best in bold."""
    parts = []
    for table in tables:
        parts.append(f"### {caption(table)}\n")
        for block in table.blocks:
            head = [block.title or "method", *block.columns, "seeds"]
            rows = [[escape_markdown(text.strip()) for text in row] for row in rows_of(block, style)]
            align = ("left", *["right"] * (len(head) - 1))
            parts.append(tabulate(rows, head, "github", disable_numparse=True, colalign=align) + "\n")
        parts += [f"{said}\n" for said in remarks(table, style)]
    return "\n".join(parts)


def escape_markdown(words: str) -> str:
    """A cell's text without what would end the cell or be taken for markup; our own bold stays."""
    bold = words.startswith("**") and words.endswith("**") and len(words) > 4
    inner = words[2:-2] if bold else words
    for mark in ("\\", "|", "`", "*", "_", "<"):
        inner = inner.replace(mark, f"\\{mark}")
    return f"**{inner}**" if bold else inner


def latex(tables: list[Table], style: Style) -> str:
    """booktabs; blocks of Tables 1, 4 and 5 side by side. Needs \\usepackage{booktabs}."""
    parts = [r"% \usepackage{booktabs}"]
    for table in tables:
        parts += [r"\begin{table*}", r"\centering", r"\footnotesize"]
        for block in table.blocks:
            parts += latex_block(block, style)
        said = " ".join([f"{table.title}: {table.setting}.", *remarks(table, style)])
        parts += [rf"\caption{{{escape_latex(said)}}}", rf"\label{{tab:{table.number}}}", r"\end{table*}", ""]
    return "\n".join(parts)


def latex_block(block: Block, style: Style) -> list[str]:
    """One tabular."""
    head = [block.title or "method", *block.columns, "seeds"]
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule"]
    lines += [" & ".join(map(escape_latex, head)) + r" \\", r"\midrule"]
    for row in rows_of(block, style):
        name = r"\quad " * row[0].startswith("  ") + escape_latex(row[0].strip())
        lines.append(" & ".join([name, *(escape_latex(words, keep=r"\textbf{") for words in row[1:])]) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}", ""]


def escape_latex(words: str, keep: str = "") -> str:
    """Text that LaTeX prints as it is; a leading `keep` and its closing brace are ours."""
    if keep and words.startswith(keep):
        return keep + escape_latex(words[len(keep) : -1]) + "}"
    special = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
    special |= {mark: f"\\{mark}" for mark in "&%$#_{}"}
    special |= {"±": r"$\pm$", "λ": r"$\lambda$"}
    return "".join(special.get(letter, letter) for letter in words)


HEADER = [
    "table",
    "setting",
    "block",
    "method",
    "trainer",
    "column",
    "mean",
    "std",
    "ci95_half_width",
    "seeds",
    "seed_list",
    "best",
    "published",
    "difference",
]


def numbers(tables: list[Table]) -> str:
    """CSV, a line a cell: full precision, both spreads, empty where there is nothing."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    for table in tables:
        for block in table.blocks:
            for line in block.lines:
                for column, one in zip(block.columns, line.cells, strict=True):
                    writer.writerow([table.number, table.setting, block.title, *csv_cell(line, column, one)])
    return out.getvalue()


def csv_cell(line: Line, column: str, one: Cell) -> list[str | int]:
    """The part of a CSV line that is the cell's own."""
    name = [safe(line.label), safe(line.row.trainer), column]
    rest = [int(one.best), figure(one.published, ""), figure(one.difference, "", 4)]
    if one.summary is None:
        return [*name, "", "", "", 0, "", *rest]
    seeds = " ".join(map(str, sorted(one.summary.values)))
    spreads = [figure(value, "", 4) for value in (one.summary.std, one.summary.interval)]
    return [*name, f"{one.summary.mean:.4f}", *spreads, one.summary.n, seeds, *rest]


def safe(words: str) -> str:
    """A text that a spreadsheet does not take for a formula."""
    return f"'{words}" if words.startswith(("=", "+", "-", "@")) and words not in METHODS else words


FORMATS: dict[str, Callable[[list[Table], Style], str]] = {
    "terminal": terminal,
    "markdown": markdown,
    "latex": latex,
    "csv": lambda tables, style: numbers(tables),
}
