"""Tables, figures and a page from the records of runs.

python -m report tables output/ --table 1 --format markdown --published -o table1.md
python -m report figures output/ -o figures/
python -m report html output/ -o report.html
"""

import argparse
import os
import sys
from pathlib import Path

from report.tables import BUILDERS, build, read_tree
from report.text import FORMATS, Style


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code: 2 if there is nothing to report."""
    parser = argparse.ArgumentParser(
        prog="python -m report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add_tables(commands)
    add_figures(commands)
    add_page(commands)
    args = parser.parse_args(argv)
    try:
        return args.act(args)
    except (FileNotFoundError, ModuleNotFoundError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def add_command(commands: argparse._SubParsersAction, name: str, summary: str) -> argparse.ArgumentParser:
    """A command that reads an output tree."""
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.add_argument("output", type=Path, help="directory whose runs are read, such as output/")
    parser.add_argument("--dataset", help="only runs tested on this data set (its registered name, letter case aside)")
    return parser


def add_tables(commands: argparse._SubParsersAction) -> None:
    """`tables`: Tables 1-5 as text."""
    parser = add_command(commands, "tables", "The paper's tables, those of them for which there are runs.")
    parser.add_argument("--format", choices=FORMATS, default="terminal")
    parser.add_argument("--table", type=int, choices=BUILDERS, nargs="+", help="only these (default: all there are)")
    parser.add_argument("--published", action="store_true", help="set published numbers beside, with the difference")
    parser.add_argument("--spread", choices=("std", "ci95"), default="std", help="what stands behind ± (default: std)")
    parser.add_argument("--digits", type=int, choices=range(5), default=1, help="after the point (default: 1)")
    parser.add_argument("-o", "--out", type=Path, help="write to this file instead of the terminal")
    parser.set_defaults(act=print_tables)


def print_tables(args: argparse.Namespace) -> int:
    """Write the tables; what is asked for and lacks its runs is named with what makes them."""
    tables, lacking = build(read_tree(args.output, args.dataset), args.table)
    if args.table or not tables:
        for sentence in lacking:
            print(sentence, file=sys.stderr)
    if not tables:
        raise ValueError(f"No table can be made of the runs below {args.output}.")
    style = Style(args.digits, args.spread, args.published, bold_style(args))
    text = FORMATS[args.format](tables, style).rstrip("\n") + "\n"
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text, encoding="utf-8")
        print(f"{args.out}: {', '.join(f'Table {table.number}' for table in tables)}")
    else:
        sys.stdout.write(text)
    return 0


def add_figures(commands: argparse._SubParsersAction) -> None:
    """`figures`: PNG and PDF files."""
    parser = add_command(commands, "figures", "The paper's figures and training curves, PNG and PDF.")
    parser.add_argument("--figure", choices=("1", "3", "4", "5", "curves"), nargs="+", help="only these (default: all)")
    parser.add_argument("--methods", nargs="+", help="only these, by their label in tables or their trainer's name")
    parser.add_argument("-o", "--out", type=Path, default=Path("figures"), help="folder (default: figures)")
    parser.set_defaults(act=draw_figures)


def draw_figures(args: argparse.Namespace) -> int:
    """Write the figures there are data for; name the others with what makes their data."""
    tree = read_tree(args.output, args.dataset)
    from report.figures import draw  # Matplotlib is needed here only

    figures, lacking = draw.draw(tree, args.figure, args.methods)
    for path in draw.write(figures, args.out):
        print(path)
    for sentence in lacking:
        print(sentence, file=sys.stderr)
    if not figures:
        raise ValueError(f"No figure can be drawn from the runs below {args.output}.")
    return 0


def add_page(commands: argparse._SubParsersAction) -> None:
    """`html`: one self-contained page."""
    parser = add_command(commands, "html", "Tables, figures, classes, mistakes and runs in one file.")
    parser.add_argument("--published", action="store_true", help="set published numbers beside, with the difference")
    parser.add_argument("--data", type=Path, help="root of the data sets, where the runs' own is not (see --root)")
    parser.add_argument("--mistakes", type=int, default=6, help="thumbnails a method and class subset (default: 6)")
    parser.add_argument("-o", "--out", type=Path, default=Path("report.html"), help="file (default: report.html)")
    parser.set_defaults(act=write_page)


def write_page(args: argparse.Namespace) -> int:
    """Write the page; what it lacks is named on it and here."""
    tree = read_tree(args.output, args.dataset)
    from report.page.document import Wish, write  # Pillow is needed here only

    lacking = write(tree, args.out, Wish(args.published, args.data, args.mistakes))
    for sentence in lacking:
        print(sentence, file=sys.stderr)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, opens in any browser, needs no network")
    return 0


def bold_style(args: argparse.Namespace) -> str:
    """Bold of the format; a terminal that is none, or NO_COLOR, gets a star."""
    if args.format != "terminal":
        return args.format
    return "ansi" if sys.stdout.isatty() and not args.out and "NO_COLOR" not in os.environ else "plain"


if __name__ == "__main__":
    sys.exit(main())
