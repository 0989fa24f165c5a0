"""A trained classifier for programs that have no promptclip."""

import argparse
from pathlib import Path

from promptclip.common.class_list import class_list

HELP = "write a trained classifier as ONNX, TorchScript or a matrix"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, format, class names, and where to."""
    parser.add_argument("model", metavar="MODEL", help="run directory, classifier folder, or user/name on the hub")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to write into")
    parser.add_argument("--format", required=True, choices=("onnx", "torchscript", "matrix"), help="what to write")
    parser.add_argument("--classes", help="class names a,b,c, or @FILE with one a line, in place of those trained on")
    parser.add_argument("--backbone", help="name or file of the CLIP, in place of the one that the model names")


def run(args: argparse.Namespace) -> int:
    """Export, and name the files."""
    from promptclip.export import export  # only now: torch takes seconds
    from promptclip.loading import load

    classes = None if args.classes is None else class_list(args.classes)
    model = load(args.model, backbone=args.backbone, classes=classes)
    for file in export(model, args.format, args.out):
        print(file)
    return 0
