"""How many numbers each method learns on ViT-B/16: python -m benchmarks.parameters --classes 100."""

import argparse
import contextlib
import io

from dassl.engine import TRAINER_REGISTRY
from tabulate import tabulate

from benchmarks.setting import class_names, random_clip
from promptclip.model import PromptedCLIP
from runs.config import default_config
from trainers.method import Setup


def main(argv: list[str] | None = None, model=None) -> list[dict]:
    """Print the table; return its rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--shots", type=int, default=16)
    args = parser.parse_args(argv)
    clip, cfg, names = PromptedCLIP(model or random_clip()), default_config(), class_names(args.classes)
    rows = []
    for name in TRAINER_REGISTRY.registered_names():
        method = getattr(TRAINER_REGISTRY.get(name), "method", None)
        if method is None:
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            learner = method.build(Setup(clip, cfg.TRAINER[method.node], names, "OxfordPets", "", 10))
        learner.head.resize({"adapter.weight": (args.classes * args.shots, clip.model.text_projection.shape[1])})
        of_method = {key: value for key, value in learner.state_dict().items() if key.split(".")[0] in method.learns}
        learned = learner.named_learned() if learner.fit is None else of_method
        rows.append({"method": name, "learned numbers": sum(value.numel() for value in learned.values())})
    print(tabulate(rows, "keys", tablefmt="github", intfmt=","))
    return rows


if __name__ == "__main__":
    main()
