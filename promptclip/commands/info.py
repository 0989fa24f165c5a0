"""What a trained classifier says of itself."""

import argparse
import json
from typing import Any

HELP = "say what a trained classifier is, without loading it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, and the form."""
    parser.add_argument("model", metavar="MODEL", help="run directory, classifier folder, or user/name on the hub")
    parser.add_argument("--json", action="store_true", help="the whole config.json")


def run(args: argparse.Namespace) -> int:
    """Print it."""
    from promptclip.folder import describe, read_config  # only now: torch takes seconds
    from promptclip.loading import find

    folder = find(args.model)
    description, config = describe(folder), read_config(folder)
    if args.json:
        print(json.dumps(config, indent=2))
        return 0
    names = ", ".join(description.classes)
    rows: list[tuple[str, Any]] = [
        ("method", description.method),
        ("backbone", f"{description.backbone} ({description.activation}, SHA-256 {description.sha256[:16]}…)"),
        ("classes", f"{len(description.classes)}: {names}"),
        ("new classes", f"no: {description.new_classes}" if description.new_classes else "yes"),
        *[(key.replace("_", " "), value) for key, value in description.training.items() if value is not None],
        ("parts", ", ".join(f"{place} ({part['kind']})" for place, part in config["parts"].items())),
        ("folder", folder),
    ]
    for key, value in rows:
        text = f"{value:.2f}" if isinstance(value, float) else str(value)
        print(f"{key:18}{text if len(text) <= 300 else f'{text[:300]} …'}")
    return 0
