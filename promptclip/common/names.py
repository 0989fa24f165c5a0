"""Sentences for what is not known or not there: the nearest name, the command that installs it."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

CHECKOUT = "pip install ./dassl-core ."
"""Installs all that the trainers need, in the repository's folder."""
COMMANDS = {"dassl": "pip install ./dassl-core"} | dict.fromkeys(
    ("torch", "torchvision", "clip", "yacs", "tabulate"), CHECKOUT
)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The member of `known` that looks most like `name` (letter case aside), or None if nothing comes near."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    close = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    return by_folded[close[0]] if close else None


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """One sentence: that `kind` has no member `name`, which name was probably meant, and which there are."""
    known = sorted(known)
    guess = nearest(name, known)
    hint = f"did you mean {guess!r}? " if guess else ""
    return f"There is no {kind} {name!r}: {hint}known are {', '.join(known) or 'none'}."


def flatten(node: Mapping, prefix: str = "") -> dict[str, Any]:
    """`{"OPTIM.LR": 0.002, ...}` of a nested mapping; empty sections vanish."""
    flat = {}
    for name, value in node.items():
        key = f"{prefix}{name}"
        flat.update(flatten(value, f"{key}.") if isinstance(value, Mapping) else {key: value})
    return flat


def require(*modules: str) -> None:
    """Raise ModuleNotFoundError, in one sentence with the fix, if one of `modules` cannot be imported."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        command = CHECKOUT if len(missing) > 1 else COMMANDS.get(missing[0], f"pip install {missing[0]}")
        raise ModuleNotFoundError(
            f"The Python package{'s' if len(missing) > 1 else ''} {', '.join(missing)} cannot be found; "
            f"run `{command}` in the repository's folder."
        )
