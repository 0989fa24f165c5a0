"""What a cell says, and tables as terminal text, Markdown and LaTeX; the numbers alone as CSV."""

import csv
import io
import re
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from tabulate import tabulate

from report.model import Block, Cell, Table
from report.names import METHODS, shown

MISSING = "missing"
IMPOSSIBLE = "–"
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
BOLD = {
    "plain": lambda cell: cell,
    "page": lambda cell: cell,
    "ansi": lambda cell: f"\x1b[1m{cell}\x1b[0m",
    "markdown": lambda cell: f"**{cell}**",
    "latex": lambda cell: rf"\textbf{{{cell}}}",
}
MARKS = "*≈†"
MARKED = re.compile(rf" [{MARKS}]+$")
CSV_HEADER = (
    *("table", "setting", "block", "method", "trainer", "column"),
    *("mean", "std", "ci95_half_width", "seeds", "seed_list", "best", "published", "difference"),
    *("not_told_from_best", "chosen_on_test", "unsupported"),
)


@dataclass(frozen=True)
class Style:
    """What is asked for: digits after the point, `spread` (std, ci95, both), published numbers, how bold is written."""

    digits: int = 1
    spread: str = "std"
    published: bool = False
    bold: str = "plain"

    def write(self, cell: Cell) -> str:
        """`mean ± spread` and its marks; a single seed has no spread; a missing or impossible cell says so."""
        if not cell.scores.n:
            return f"{IMPOSSIBLE}{str(cell.footnote).translate(SUPERSCRIPTS)}" if cell.reason else MISSING
        digits = self.digits + cell.decimals
        spread = cell.scores.interval if self.spread == "ci95" else cell.scores.std
        written = with_spread(cell.scores.mean, spread, digits, "+" if cell.signed else "")
        if self.spread == "both" and cell.scores.n > 1:
            written += f" (± {cell.scores.interval:.{digits}f})"
        marks = self.marks(cell)
        return (BOLD[self.bold](written) if cell.best else written) + (f" {marks}" if marks else "")

    def marks(self, cell: Cell) -> str:
        """What stands behind a number: * best (where there is no bold), ≈ not told from the best, † chosen on test."""
        best = "*" if cell.best and self.bold == "plain" else ""
        return best + "≈" * cell.tied + "†" * cell.chosen_on_test

    def legend(self, table: Table) -> str:
        """What the spread is, and what the marks mean that are there."""
        spread = {
            "std": "± standard deviation over seeds (population, ddof 0, as in the field)",
            "ci95": "± half width of the 95 % interval of the mean over seeds (Student's t)",
        }
        spread["both"] = f"{spread['std']}, in brackets {spread['ci95'][2:]}"
        best = "* best of its column" if self.bold == "plain" else "bold: best of its column"
        tied = "≈ not told from the best (paired permutation test over images, Holm-corrected, 0.05)"
        parts = [spread[self.spread]] if any(cell.scores.n > 1 for cell in table.cells) else []
        parts += [best] if any(cell.best for cell in table.cells) else []
        parts += [tied] if any(cell.tied for cell in table.cells) else []
        start = [] if any(cell.signed for cell in table.cells) else ["Accuracy in %"]
        return f"{'; '.join(start + parts)}." if start + parts else ""


def with_spread(mean: float, spread: float | None, digits: int = 1, sign: str = "") -> str:
    """`mean ± spread`; with `sign` "+" the mean's is always written."""
    return f"{mean:{sign}.{digits}f}" + (f" ± {spread:.{digits}f}" if spread is not None else "")


def rows_of(block: Block, style: Style) -> list[list[str]]:
    """The rows of a block as texts and, if asked for, below each what is published and the difference."""
    rows = []
    for row in block.rows:
        rows.append([row.method.label, *map(style.write, row.cells), row.seeds])
        if style.published and any(cell.published is not None for cell in row.cells):
            rows.append(["  published", *(figure(cell.published, "") for cell in row.cells), ""])
            rows.append(["  difference", *(figure(cell.difference, "+", style.digits) for cell in row.cells), ""])
    return aligned(rows) if style.bold == "plain" else rows


def aligned(rows: list[list[str]]) -> list[list[str]]:
    """The rows with numbers below each other in columns where one of them has a mark behind it."""
    columns = []
    for column in zip(*rows, strict=True):
        ends = [len(cell) - len(MARKED.sub("", cell)) for cell in column]
        padded = (cell + " " * (max(ends) - end) if cell else cell for cell, end in zip(column, ends, strict=True))
        columns.append(list(padded))
    return [list(row) for row in zip(*columns, strict=True)]


def figure(value: float | None, sign: str, digits: int = 2) -> str:
    """A number, or nothing; published numbers have the two digits they are printed with."""
    return "" if value is None else f"{value:{sign}.{digits}f}"


def head_of(block: Block) -> list[str]:
    """The names of a block's columns."""
    return [block.title or "method", *block.columns, "seeds"]


def remarks(table: Table, style: Style) -> list[str]:
    """The sentences below a table."""
    sentences = [sentence for sentence in (style.legend(table), *table.notes) if sentence]
    if any(cell.chosen_on_test for cell in table.cells):
        sentences.append("† something of the method was chosen by its accuracy on test images.")
    numbered = enumerate(table.reasons, 1)
    sentences += [
        f"{IMPOSSIBLE}{str(n).translate(SUPERSCRIPTS)} not possible: {one.rstrip('.')}." for n, one in numbered
    ]
    sentences += inferences(table)
    if style.published and any(cell.published is not None for cell in table.cells):
        sentences.append("Published: ViT-B/16, 16 shots, each method with its own settings; difference: ours minus it.")
    elif style.published:
        sentences.append("Nothing is published of these methods on these data sets with this backbone and these shots.")
    if any("(" in row.seeds and "/" in row.seeds for block in table.blocks for row in block.rows):
        sentences.append("(1/11): has runs on both halves of 1 of the 11 data sets, so there is no average.")
    sentences += backbones(table)
    if any(run.from_log for cell in table.cells for run in cell.scores.runs):
        sentences.append("Rows from logs rest on accuracies with one decimal.")
    return sentences


def inferences(table: Table) -> list[str]:
    """For each method that has several inferences, which one was used on which classes."""
    used: dict[str, dict[str, None]] = {}
    for block in table.blocks:
        for row in block.rows:
            for run in (run for cell in row.cells for run in cell.scores.runs if run.inference):
                where = {"all": shown(run.dataset), "joint": "all classes"}.get(run.part, run.part)
                used.setdefault(row.method.label, {})[f"{run.inference} ({where})"] = None
    return [f"Inference of {label}: {'; '.join(told)}." for label, told in used.items()]


def backbones(table: Table) -> list[str]:
    """The weights behind a table, where the records say them."""
    runs = [run for cell in table.cells for run in cell.scores.runs if run.backbone_sha256]
    said = dict.fromkeys((run.backbone, run.backbone_sha256[:16]) for run in runs)
    return [f"Backbone {name}: weights of SHA-256 {digest}…" for name, digest in said]


def caption(table: Table) -> str:
    """Number, title and setting."""
    named = f"Table {table.number}. {table.title}" if table.number else table.title
    return named + (f": {table.setting}" if table.setting else "")


def terminal(tables: list[Table], style: Style) -> str:
    """Plain text; what is wider than the terminal (80 where there is none) is split into several tables."""
    width = max(80, shutil.get_terminal_size().columns) if style.bold == "ansi" else 80
    parts = []
    for table in tables:
        parts.append(f"{caption(table)}\n")
        for block in table.blocks:
            parts += [f"{piece}\n" for piece in split(head_of(block), rows_of(block, style), width)]
        parts += [textwrap.fill(sentence, width) for sentence in remarks(table, style)] + [""]
    return "\n".join(parts)


def split(head: list[str], rows: list[list[str]], width: int) -> list[str]:
    """As few tables of about as many columns, the first one repeated, as keep to `width` (or one column each)."""
    last = len(head)
    pieces: list[str] = []
    for count in range(1, last):
        edges = [1 + (last - 1) * part // count for part in range(count + 1)]
        pieces = [print_columns(head, rows, [0, *range(*ends)]) for ends in pairwise(edges)]
        if all(len(piece.splitlines()[1]) <= width for piece in pieces):
            break
    return pieces


def print_columns(head: list[str], rows: list[list[str]], places: list[int]) -> str:
    """The columns at `places`, the first of them aligned left."""
    header, *body = ([row[place] for place in places] for row in (head, *rows))
    align = ("left", *["right"] * (len(places) - 1))
    return tabulate(body, header, "simple", disable_numparse=True, colalign=align, preserve_whitespace=True)


def markdown(tables: list[Table], style: Style) -> str:
    """Tables that GitHub renders; the best in bold."""
    parts = []
    for table in tables:
        parts.append(f"### {caption(table)}\n")
        for block in table.blocks:
            head = head_of(block)
            rows = [[escape_markdown(cell.strip()) for cell in row] for row in rows_of(block, style)]
            align = ("left", *["right"] * (len(head) - 1))
            parts.append(tabulate(rows, head, "github", disable_numparse=True, colalign=align) + "\n")
        parts += [f"{sentence}\n" for sentence in remarks(table, style)]
    return "\n".join(parts)


def escape_markdown(text: str) -> str:
    """A cell's text without what would end the cell or be taken for markup; our own bold stays."""
    bold = re.fullmatch(rf"\*\*(.+)\*\*( [{MARKS}]+)?", text)
    inner = bold[1] if bold else text
    for mark in ("\\", "|", "`", "*", "_", "<"):
        inner = inner.replace(mark, f"\\{mark}")
    return f"**{inner}**{bold[2] or ''}" if bold else inner


def latex(tables: list[Table], style: Style) -> str:
    """booktabs; blocks of Tables 1, 4 and 5 side by side. Needs \\usepackage{booktabs}."""
    parts = [r"% \usepackage{booktabs}"]
    for table in tables:
        parts += [r"\begin{table*}", r"\centering", r"\footnotesize"]
        for block in table.blocks:
            parts += latex_block(block, style)
        sentences = " ".join([f"{table.title}: {table.setting}.", *remarks(table, style)])
        parts += [
            rf"\caption{{{escape_latex(sentences)}}}",
            rf"\label{{tab:{table.number or 'overfit'}}}",
            r"\end{table*}",
            "",
        ]
    return "\n".join(parts)


def latex_block(block: Block, style: Style) -> list[str]:
    """One tabular."""
    head = head_of(block)
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule"]
    lines += [" & ".join(map(escape_latex, head)) + r" \\", r"\midrule"]
    for row in rows_of(block, style):
        name = r"\quad " * row[0].startswith("  ") + escape_latex(row[0].strip())
        lines.append(" & ".join([name, *(escape_latex(cell, keep=r"\textbf{") for cell in row[1:])]) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}", ""]


def escape_latex(text: str, keep: str = "") -> str:
    """Text that LaTeX prints as it is; a leading `keep` and its closing brace are ours."""
    if keep and text.startswith(keep):
        inner, _, marks = text[len(keep) :].rpartition("}")
        return keep + escape_latex(inner) + "}" + escape_latex(marks)
    special = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
    special |= {mark: f"\\{mark}" for mark in "&%$#_{}"}
    special |= {"±": r"$\pm$", "λ": r"$\lambda$", "ρ": r"$\rho$", "≈": r"$\approx$", "†": r"$\dagger$", "–": "--"}
    special |= {mark: f"$^{place}$" for place, mark in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
    return "".join(special.get(letter, letter) for letter in text)


def numbers(tables: list[Table], style: Style) -> str:
    """CSV, each cell on a line: full precision, both spreads, empty where there is nothing."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for table in tables:
        for block in table.blocks:
            for row in block.rows:
                for column, cell in zip(block.columns, row.cells, strict=True):
                    texts = (table.setting, block.title, row.method.label, row.method.trainer, column)
                    writer.writerow([table.number or "", *map(safe, texts), *csv_numbers(cell)])
    return out.getvalue()


def csv_numbers(cell: Cell) -> list[str | int]:
    """The part of a CSV line that is the cell's own."""
    scores = cell.scores
    found: list[str | int] = ["", "", "", 0, ""]
    if scores.n:
        spreads = [figure(value, "", 4) for value in (scores.std, scores.interval)]
        found = [f"{scores.mean:.4f}", *spreads, scores.n, " ".join(map(str, sorted(scores.values)))]
    found += [int(cell.best), figure(cell.published, ""), figure(cell.difference, "", 4)]
    return [*found, int(cell.tied), int(cell.chosen_on_test), safe(cell.reason)]


def safe(text: str) -> str:
    """A text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) and text not in METHODS else text


FORMATS: dict[str, Callable[[list[Table], Style], str]] = {
    "terminal": terminal,
    "markdown": markdown,
    "latex": latex,
    "csv": numbers,
}
