"""Class names for photos, folders, globs, and what comes through standard input."""

import argparse
import csv
import glob
import io
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from promptclip.common.class_list import class_list

HELP = "say what pictures show"
LARGEST_INPUT = 200_000_000
"""Bytes that standard input may hold."""

Named: TypeAlias = "tuple[str, Any]"
"""A picture's name, and the picture or the exception that says why there is none."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, pictures, class names, and the form of the answer."""
    parser.add_argument("model", metavar="MODEL", help="run directory, classifier folder, or user/name on the hub")
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="picture, folder, glob; - for standard input: a picture, or paths"
    )
    parser.add_argument("--classes", help="class names a,b,c, or @FILE with one a line, in place of those trained on")
    parser.add_argument("--template", help='text around a class name, such as "a sketch of a {}."; with --classes')
    parser.add_argument("--top", type=int, default=5, help="how many classes, the likeliest first (default: 5)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", type=Path, metavar="FILE", help="write a table to FILE")
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--batch", type=int, default=64, help="pictures at once (default: 64)")
    parser.add_argument("--backbone", help="name or file of the CLIP, in place of the one that the model names")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")


def run(args: argparse.Namespace) -> int:
    """Predict; 1 if a picture could not be read."""
    if args.top < 1 or args.batch < 1:
        raise ValueError(f"--top is {args.top} and --batch {args.batch}; both must be 1 or more.")
    if args.template is not None and args.classes is None:
        raise ValueError("--template needs --classes.")
    from tqdm import tqdm  # only now: with torch this takes seconds

    from promptclip.classifier import Classifier
    from promptclip.loading import load

    pictures = list(named_pictures(args.paths))
    model: Classifier = load(args.model, backbone=args.backbone, device=args.device)
    if args.classes is not None:
        model = model.with_classes(class_list(args.classes), args.template)
    table, failed = io.StringIO(), 0
    sheet = csv.writer(table, lineterminator="\n")
    places = range(1, min(args.top, len(model.classes)) + 1)
    sheet.writerow(["path", *(f"{column}_{place}" for place in places for column in ("class", "probability"))])
    with tqdm(total=len(pictures), unit="picture", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        for name, answer in answers(model, pictures, args):
            bar.update()
            if isinstance(answer, Exception):
                failed += 1
                bar.write(f"unreadable: {name}: {' '.join(str(answer).split())}", file=sys.stderr)
            elif args.csv is not None:
                sheet.writerow([safe(name), *(cell for one, p in answer for cell in (safe(one), f"{p:.6g}"))])
            elif args.json:
                found = [{"class": one, "probability": p} for one, p in answer]
                bar.write(json.dumps({"path": name, "predictions": found}), file=sys.stdout)
            else:
                bar.write(f"{name}: {', '.join(f'{one} {p:.1%}' for one, p in answer)}", file=sys.stdout)
    if args.csv is not None:
        from promptclip.common.files import write_atomically

        write_atomically(args.csv, table.getvalue())
    if failed:
        print(f"{failed} of {len(pictures)} pictures could not be read.", file=sys.stderr)
    return 1 if failed else 0


def answers(model: Any, pictures: list[Named], args: argparse.Namespace) -> Iterator[Named]:
    """Each picture's name with its prediction, or with what is wrong with it, in their order."""
    good = (picture for _, picture in pictures if not isinstance(picture, Exception))
    found = (one for some in model.batches(good, args.batch) for one in some)
    for name, picture in pictures:
        answer = picture if isinstance(picture, Exception) else next(found)
        yield name, answer if isinstance(answer, Exception) else model.named(answer[None], args.top)[0]


def named_pictures(paths: list[str]) -> Iterator[Named]:
    """The pictures that the command line names; what is not there stands as an exception."""
    for path in paths:
        if path == "-":
            yield from from_input(sys.stdin.buffer.read(LARGEST_INPUT + 1))
        elif glob.has_magic(path) and not Path(path).exists():
            found = sorted(glob.glob(path, recursive=True))
            yield from ((one, one) for one in found)
            if not found:
                yield path, FileNotFoundError(f"No file is called like {path!r}.")
        else:
            yield from at(path)


def at(path: str) -> Iterator[Named]:
    """A picture, or those in a folder."""
    from promptclip.images import in_folder

    if not Path(path).is_dir():
        yield path, path
        return
    try:
        yield from ((str(one), one) for one in in_folder(Path(path)))
    except FileNotFoundError as error:
        yield path, error


def from_input(content: bytes) -> Iterator[Named]:
    """What standard input holds: a picture, or paths of pictures, one a line."""
    if len(content) > LARGEST_INPUT:
        raise ValueError(f"Standard input holds more than {LARGEST_INPUT:,} bytes.")
    from promptclip.images import read_file

    try:
        lines = [line for line in content.decode().splitlines() if line.strip()]
    except UnicodeDecodeError:
        lines = []
    if lines and all("\0" not in line for line in islice(lines, 100)):
        for line in lines:
            yield from at(line)
        return
    try:
        yield "-", read_file(io.BytesIO(content), "The picture in standard input")
    except ValueError as error:
        yield "-", error


def safe(text: str) -> str:
    """Text that no spreadsheet takes for a formula; of a path, "./" in front is the same file."""
    return f"./{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text
