"""The field's hand-written prompt templates, kept as data in templates.json; {} is the class name."""

import json
from functools import lru_cache
from pathlib import Path

DEFAULT = "a photo of a {}."


@lru_cache(maxsize=1)
def tables() -> dict:
    """dataset, generic, tcp, tcp_context: {data set: template}; select_7, promptsrc_60, imagenet_80: lists."""
    return json.loads((Path(__file__).parent / "templates.json").read_text())


def dataset_template(dataset: str, own: str = "", table: str = "dataset") -> str:
    """Template of a data set.

    Args:
        dataset: its registered name; "a photo of a {}." where no table knows it.
        own: the user's own template (DATASET.TEMPLATE), which wins.
        table: "dataset" (CoOp's own), "generic" (the plainer ones KgCoOp and ProGrad use), or "tcp" and "tcp_context"
            (TCP's, of the texts that it knows classes by and of its prompts).

    Raises:
        ValueError: `own` has no place for the class name.
    """
    if own and "{}" not in own:
        raise ValueError(f"DATASET.TEMPLATE {own!r} has no {{}} where the class name goes, as in {DEFAULT!r}.")
    return own or tables()[table].get(dataset, DEFAULT)
