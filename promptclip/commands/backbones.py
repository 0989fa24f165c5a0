"""Which CLIPs can be loaded, and where their weights are."""

import argparse
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

HELP = "list the CLIPs that can be loaded by name: parameters, licence, where their weights are"
OPENAIS = {  # millions of parameters
    **{"RN50": 102, "RN101": 120, "RN50x4": 178, "RN50x16": 291, "RN50x64": 623},
    **{"ViT-B/32": 151, "ViT-B/16": 150, "ViT-L/14": 428, "ViT-L/14@336px": 428},
}
OTHERS = (
    "open_clip:ARCHITECTURE/FILE      weights of one's own that open_clip trained (docs/backbones.md)",
    "open_clip:FOLDER                 open_clip_config.json and weights; or open_clip:hf-hub:USER/NAME",
    "hf:USER/NAME or hf:FOLDER        a CLIP in the form of Hugging Face's transformers",
    "FILE                             OpenAI's archive, or a state dict with MODEL.BACKBONE.ACTIVATION",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    for line in backbones():
        print(line)
    return 0


def backbones() -> Iterator[str]:
    """One line for each name that `promptclip.load_clip` knows: name, parameters, licence, where its weights are; then
    the other forms of a name.

    Raises:
        ModuleNotFoundError: torch or clip is not installed.
    """
    from promptclip import EMBEDDED, backbone_names  # only now: torch takes seconds
    from promptclip.open_clip_source import listed

    for name in backbone_names():
        file = _downloaded_file(name) if name not in EMBEDDED else None
        if file is None:
            where = "embedded"
        elif file.is_file():
            where = str(file)
        else:
            where = f"not downloaded; clip fetches it at first use to {file}"
        yield _line(name, OPENAIS.get(name, 9), "MIT", where)
    if find_spec("open_clip") is None:
        yield "open_clip:ARCHITECTURE/TAG       60 others and more: pip install 'restore-prompts[open-clip]' lists them"
    else:
        for name, parameters, licence in listed():
            yield _line(name, round(parameters / 1e6), licence, "open_clip fetches it at first use")
    yield from OTHERS


def _line(name: str, millions: int, licence: str, where: str) -> str:
    return f"{name:58} {f'{millions:,} M' if millions else '':>8}  {licence:19}  {where}"


def _downloaded_file(name: str) -> Path:
    """Where clip keeps the weights of one of its models."""
    from clip.clip import _MODELS  # the table of addresses; the files are called as they are there

    return Path("~/.cache/clip").expanduser() / _MODELS[name].rpartition("/")[2]
