"""Data sets on the disk: what there is, how to get it, whether it is right, what it looks like.

python -m datasets.prepare list
python -m datasets.prepare fetch oxford_pets dtd --root /data
python -m datasets.prepare check oxford_pets --root /data
python -m datasets.prepare show oxford_pets --root /data

Exit codes: 0 fine, 1 something is missing or wrong with a data set, 2 a mistake in the command, 130 Ctrl-C.
"""

import argparse
import os
import sys
from pathlib import Path

from promptclip.common.console import steady_streams
from promptclip.common.names import require


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m datasets.prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    root = argparse.ArgumentParser(add_help=False)
    root.add_argument(
        "--root", default=os.environ.get("DATA", ""), help="directory that holds the data sets (else $DATA)"
    )
    names = argparse.ArgumentParser(add_help=False)
    names.add_argument("names", nargs="+", metavar="DATASET", help="registered name or name of the yaml file")
    commands.add_parser("list", parents=[root], help="what exists: sizes, licences, where from")
    checks = commands.add_parser("check", parents=[root, names], help="verify what lies on the disk")
    checks.add_argument("--quick", action="store_true", help="do not decode the images")
    checks.add_argument("--classes", action="store_true", help="list the number of images of every class")
    commands.add_parser("fetch", parents=[root, names], help="download and lay out what has a public source")
    shows = commands.add_parser("show", parents=[root, names], help="write a contact sheet as PNG")
    shows.add_argument("--output", type=Path, help="file (output/contact_sheets/<name>.png)")
    shows.add_argument("--per-class", type=int, default=4, help="images per class (4)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code; errors are told in one sentence on stderr."""
    args = build_parser().parse_args(argv)
    with steady_streams():
        return run(args)


def run(args: argparse.Namespace) -> int:
    """Run one command; see `main`."""
    try:
        require("torch", "dassl", "yacs", "tabulate", "tqdm")
        return COMMANDS[args.command](args)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command resumes a download where it was.", file=sys.stderr)
        return 130
    except (ValueError, LookupError, OSError, ImportError) as error:
        text = error.args[0] if isinstance(error, KeyError) else error
        print(f"error: {' '.join(str(text).split())}", file=sys.stderr)
        return 2 if isinstance(error, LookupError | ImportError) else 1


def run_list(args: argparse.Namespace) -> int:
    """`list`."""
    from datasets.prepare.catalogue import overview

    print(overview(args.root))
    return 0


def run_check(args: argparse.Namespace) -> int:
    """`check`: all data sets named, then 1 if one has a problem."""
    from datasets.prepare.catalogue import choose
    from datasets.prepare.check import check, print_report

    wrong = False
    for cls in [choose(name) for name in args.names]:
        report = check(cls, args.root, read_images=not args.quick, classes=args.classes)
        print_report(cls, args.root, report)
        wrong |= bool(report.problems)
    return int(wrong)


def run_fetch(args: argparse.Namespace) -> int:
    """`fetch`: all data sets named; one that fails does not keep the others from being fetched."""
    from datasets.prepare.catalogue import choose
    from datasets.prepare.fetch import fetch

    chosen = [choose(name) for name in args.names]
    if not args.root:
        raise LookupError("fetch needs the directory to put data sets in: --root /data, or DATA=/data before it.")
    incomplete = False
    for cls in chosen:
        try:
            incomplete |= not fetch(cls, args.root)
        except (OSError, ValueError) as error:
            print(f"error: {cls.__name__}: {' '.join(str(error).split())}", file=sys.stderr)
            incomplete = True
    return int(incomplete)


def run_show(args: argparse.Namespace) -> int:
    """`show`."""
    from datasets.prepare.catalogue import choose
    from datasets.prepare.show import show

    chosen = [choose(name) for name in args.names]
    if args.output and len(chosen) > 1:
        raise LookupError("--output names one file; show one data set at a time with it.")
    for cls in chosen:
        output = args.output or Path("output") / "contact_sheets" / f"{cls.__name__}.png"
        print(show(cls, args.root, output, args.per_class))
    return 0


COMMANDS = {"list": run_list, "check": run_check, "fetch": run_fetch, "show": run_show}

if __name__ == "__main__":
    sys.exit(main())
