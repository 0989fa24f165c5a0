"""Sentences for a name that is not known, with the nearest one that is."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


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
