"""Tables, figures and a page from the records of runs.

python -m report tables --table 1 --format markdown --published -o table1.md
python -m report tables --metrics accuracy,ece,joint
python -m report compare MaPLe RESTORE_m
python -m report figures -o figures/
python -m report html output/ -o report.html
python -m report fill docs/results.md output/

Runs are read below the directory named last; without one below $OUTPUT, else output/ here, else in the checkout.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from promptclip.common.console import steady_streams
from promptclip.common.files import write_atomically
from report import fill, overfit
from report.metrics import parse
from report.model import Table
from report.tables import BUILDERS, Tree, build, read_tree
from report.text import FORMATS, Style


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code: 2 if there is nothing to report."""
    with steady_streams():
        args = command_line().parse_args(argv)
        try:
            return args.act(args)
        except (ModuleNotFoundError, ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2


def command_line() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(
        prog="python -m report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    published = {"action": "store_true", "help": "set published numbers beside, with the difference"}

    def layout(option: Callable[..., argparse.Action]) -> None:
        """The options of what is printed as tables."""
        option("--format", choices=FORMATS, default="terminal")
        option("--spread", choices=("std", "ci95", "both"), default="std", help="what stands behind ± (default: std)")
        option("--digits", type=int, choices=range(5), default=1, help="after the point (default: 1)")
        option("-o", "--out", type=Path, help="write to this file instead of the terminal")

    def command(
        name: str, act: Callable[[argparse.Namespace], int], summary: str, names: tuple[str, ...] = ()
    ) -> Callable[..., argparse.Action]:
        """A command that reads an output tree; returns what adds an option to it."""
        added = commands.add_parser(name, help=summary, description=summary)
        for name in names:
            added.add_argument(name, help=f"method {name}, by its name in tables or its trainer's")
        added.add_argument(
            "output", type=Path, nargs="?", help="directory whose runs are read (default: see report -h)"
        )
        added.add_argument(
            "--dataset", help="only runs tested on this data set (its registered name, letter case aside)"
        )
        added.add_argument("--sweep", metavar="NAME", help="only runs of this sweep, such as demo_table1")
        added.set_defaults(act=act)
        return added.add_argument

    option = command("tables", print_tables, "The paper's tables, those of them for which there are runs.")
    layout(option)
    option("--table", type=int, choices=BUILDERS, nargs="+", help="only these (default: all there are)")
    option("--no-marks", action="store_true", help="do not test what can be told from the best: faster")
    option("--metrics", default="accuracy", help="comma-separated, or all: accuracy, ece, brier, ... (docs/metrics.md)")
    option("--published", **published)

    option = command("overfit", print_overfit, "What methods gain on base classes and lose on new ones.")
    layout(option)

    command("compare", print_comparison, "Whether two methods differ, on the same images and seeds.", ("A", "B"))

    added = commands.add_parser(
        "fill", help="Renew the marked tables of a Markdown document.", description=fill.__doc__
    )
    added.formatter_class = argparse.RawDescriptionHelpFormatter
    added.add_argument("document", type=Path, help="Markdown file with marks")
    added.add_argument("output", type=Path, nargs="?", help="directory of the runs (default: see report -h)")
    added.set_defaults(act=fill_document)

    option = command("figures", draw_figures, "The paper's figures and training curves, PNG and PDF.")
    option("--figure", choices=FIGURES, nargs="+", help="only these (default: all)")
    option("--methods", nargs="+", help="only these, by their label in tables or their trainer's name")
    option("--kind", choices=("png", "pdf"), nargs="+", default=("png", "pdf"), help="of files (default: both)")
    option("-o", "--out", type=Path, default=Path("figures"), help="folder (default: figures)")

    option = command("html", write_page, "Tables, figures, classes, mistakes and runs in one file.")
    option("--published", **published)
    option("--data", type=Path, help="root of the data sets, where the runs' own is not (see --root)")
    option("--mistakes", type=int, default=6, help="thumbnails per method and class subset (default: 6)")
    option("-o", "--out", type=Path, default=Path("report.html"), help="file (default: report.html)")
    return parser


FIGURES = ("1", "3", "4", "5", "curves", "reliability", "joint", "confusion")


def print_tables(args: argparse.Namespace) -> int:
    """Write the tables; what is asked for and lacks its runs is named with what makes them."""
    metrics, tree = parse(args.metrics), tree_of(args)
    tables, lacking = build(tree, args.table, metrics, not args.no_marks)
    if args.table or not tables:
        complain(lacking)
    if not tables:
        raise ValueError(f"No table can be made of the runs below {tree.output}.")
    return write_tables(args, tables, args.published, ", ".join(f"Table {table.number}" for table in tables))


def print_overfit(args: argparse.Namespace) -> int:
    """Write what methods gain and lose against zero-shot CLIP."""
    tree = tree_of(args)
    found = overfit.tables(tree)
    if not found:
        raise ValueError(
            f"Overfit needs zero-shot CLIP and another method on base and new classes below {tree.output}: "
            "`python sweep.py table1` makes them."
        )
    return write_tables(args, found, False, "overfit")


def write_tables(args: argparse.Namespace, tables: list[Table], published: bool, what: str) -> int:
    """Write tables in the format that was asked for, to the terminal or a file, which is then named with `what`."""
    style = Style(args.digits, args.spread, published, bold_style(args))
    text = FORMATS[args.format](tables, style).rstrip("\n") + "\n"
    if args.out:
        write_atomically(args.out, text.encode("utf-8", "backslashreplace"))
        print(f"{args.out}: {what}")
    else:
        print(text, end="")
    return 0


def print_comparison(args: argparse.Namespace) -> int:
    """Print how two methods compare."""
    tree = tree_of(args)
    from report.compare import compare  # NumPy is needed here only

    print(compare(tree, args.A, args.B))
    return 0


def fill_document(args: argparse.Namespace) -> int:
    """Renew the marked parts of a document."""
    complain(fill.fill(args.document, args.output or default_output(), main))
    print(f"{args.document} is filled")
    return 0


def tree_of(args: argparse.Namespace) -> Tree:
    """The output tree that is asked for, or the one that is there. Raises FileNotFoundError, ValueError."""
    return read_tree(args.output or default_output(), args.dataset, args.sweep)


def default_output() -> Path:
    """$OUTPUT, which the scripts write to; else output/ here, if runs are in it; else that of the checkout."""
    named = os.environ.get("OUTPUT")
    checkout = Path(__file__).parents[1] / "output"
    here = Path("output")
    if named:
        return Path(named).expanduser()
    return here if here.is_dir() or not checkout.is_dir() else Path(os.path.relpath(checkout))


def draw_figures(args: argparse.Namespace) -> int:
    """Write the figures there are data for; name the others with what makes their data."""
    tree = tree_of(args)
    from report.figures import draw  # Matplotlib is needed here only

    figures, lacking = draw.draw(tree, args.figure, args.methods, progress)
    for path in draw.write(figures, args.out, args.kind):
        progress("")
        print(path, flush=True)
    complain(lacking)
    if not figures:
        raise ValueError(f"No figure can be drawn from the runs below {tree.output}.")
    return 0


def write_page(args: argparse.Namespace) -> int:
    """Write the page; what it lacks is named on it and here."""
    tree = tree_of(args)
    from report.page import document  # Jinja and Pillow are needed here only

    lacking = document.write(tree, args.out, args.published, args.data, args.mistakes, progress)
    progress("")
    complain(lacking)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, opens in any browser, needs no network")
    return 0


def progress(step: str) -> None:
    """Name what is being done, in a line that the next one takes the place of; on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r{f'{step} ...' if step else '':<40}\r", end="", file=sys.stderr, flush=True)


def complain(sentences: list[str]) -> None:
    """Print on stderr."""
    for sentence in sentences:
        print(sentence, file=sys.stderr)


def bold_style(args: argparse.Namespace) -> str:
    """Bold of the format; a terminal that is none, or NO_COLOR, gets a star."""
    if args.format != "terminal":
        return args.format
    return "ansi" if sys.stdout.isatty() and not args.out and "NO_COLOR" not in os.environ else "plain"


if __name__ == "__main__":
    sys.exit(main())
