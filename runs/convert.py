"""A checkpoint of a run, written as the method's reference implementation reads it (`runs.conversion`).

python -m runs.convert output/pets/seed1
python -m runs.convert output/pets/seed1 --to maple --load-epoch 5 --output-dir output/pets/seed1-maple

Exit codes: 0 written, 2 not, for a reason told in one sentence.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from promptclip.common.console import steady_streams
from promptclip.common.names import unknown


def main(argv: list[str] | None = None) -> int:
    """Convert one checkpoint; the exit code."""
    parser = ArgumentParser("python -m runs.convert", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="output directory of a training")
    parser.add_argument("--to", help="whose form (coop, maple, promptsrc, ...); the method's own by default")
    parser.add_argument("--load-epoch", type=int, help="epoch of the checkpoint; the last one by default")
    parser.add_argument("--output-dir", type=Path, help="where to; RUN-<whose form> by default")
    args = parser.parse_args(argv)
    from runs.conversion import REFERENCES, convert  # only now: with torch it takes seconds

    with steady_streams():
        try:
            if args.to is not None and args.to not in REFERENCES:
                raise ValueError(unknown("reference implementation (--to)", args.to, REFERENCES))
            target, arguments = convert(args.run, args.to, args.load_epoch, args.output_dir)
        except (ValueError, OSError) as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        print(f"Written: {target}\nThe reference's train.py evaluates it with {arguments}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
