"""CoOp's command line."""

import argparse
import re
from typing import NoReturn

from promptclip.common.names import nearest


class Parser(argparse.ArgumentParser):
    """Tells what is wrong in one sentence, with the nearest option, instead of listing the usage."""

    def error(self, message: str) -> NoReturn:
        """End the program with code 2."""
        unknown = re.search(r"unrecognized arguments: (--\S+)", message)
        guess = nearest(unknown.group(1), self._option_string_actions) if unknown else None
        hint = f"did you mean {guess}? " if guess else ""
        self.exit(2, f"error: {message}; {hint}--help lists all options.\n")


def build_parser(description: str) -> argparse.ArgumentParser:
    """CoOp's command line, all of it."""
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="", help="directory that holds the data sets")
    parser.add_argument("--output-dir", default="", help="directory of this run")
    parser.add_argument("--resume", default="", help="directory of checkpoints to resume from, if not --output-dir")
    parser.add_argument("--seed", type=int, default=None, help="0 or more fixes all random numbers; -1 fixes none")
    parser.add_argument("--source-domains", nargs="+", help="source domains, for domain generalisation")
    parser.add_argument("--target-domains", nargs="+", help="target domains, for domain generalisation")
    parser.add_argument("--transforms", nargs="+", help="data augmentation, in place of the yaml's")
    parser.add_argument("--config-file", default="", help="yaml file of the method")
    parser.add_argument("--dataset-config-file", default="", help="yaml file of the data set")
    parser.add_argument("--trainer", default="", help="registered name of the method")
    parser.add_argument("--backbone", default="", help="CLIP's name for a model, EmojiCLIP, or a weights file")
    parser.add_argument("--head", default="", help="name of the head (no method here has one)")
    parser.add_argument("--eval-only", action="store_true", help="evaluate a checkpoint, do not train")
    parser.add_argument("--model-dir", default="", help="with --eval-only: output directory of the training")
    parser.add_argument("--load-epoch", type=int, help="with --eval-only: epoch of the checkpoint (else the best one)")
    parser.add_argument("--no-train", action="store_true", help="build everything, but do not train")
    parser.add_argument("opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE pairs, over the yaml files")
    return parser
