"""Folders of trained classifiers for runs that were made before trainings left them."""

import argparse
from pathlib import Path

from promptclip.common.class_list import class_list

HELP = "make the classifier folder of a training that was run before trainings left one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and what it may not say."""
    parser.add_argument("run", metavar="RUN", type=Path, help="output directory of the training")
    parser.add_argument(
        "--load-epoch", type=int, help="epoch of the checkpoint; by default what the training ended with"
    )
    parser.add_argument("--classes", help="class names a,b,c, where the run's metrics.json does not say them")
    parser.add_argument("--backbone", help="name or file of the CLIP, where it lies elsewhere than in the training")


def run(args: argparse.Namespace) -> int:
    """Write the folder and say where it is."""
    from promptclip.pack import pack  # only now: torch takes seconds

    classes = None if args.classes is None else class_list(args.classes)
    print(f"Written: {pack(args.run.expanduser(), args.load_epoch, classes, args.backbone)}")
    return 0
