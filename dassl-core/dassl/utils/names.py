"""Finds the name a user most likely meant, and says so."""

from collections.abc import Iterable
from difflib import get_close_matches


class UnknownName(KeyError, ValueError):
    """A name that nothing is registered under; its text is one sentence that holds the nearest valid name."""

    def __str__(self) -> str:
        # KeyError shows repr(message), which would put the sentence in quotation marks.
        return str(self.args[0]) if self.args else ""


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the entry of `valid` that looks most like `name`, upper and lower case being alike, or None."""
    by_folded = {str(v).lower(): str(v) for v in valid}
    close = get_close_matches(str(name).lower(), by_folded, n=1, cutoff=0.5)
    return by_folded[close[0]] if close else None


def unknown(kind: str, name: str, valid: Iterable[str]) -> UnknownName:
    """Make the error for an unknown `name`: it offers the nearest valid name, or else all of them."""
    valid = sorted(str(v) for v in valid)
    guess = nearest(name, valid)
    if guess is not None:
        return UnknownName(f'Unknown {kind} "{name}"; did you mean "{guess}"?')
    return UnknownName(f'Unknown {kind} "{name}"; known are: {", ".join(valid) or "none"}.')


def check_availability(requested: str, available: Iterable[str], kind: str = "name") -> None:
    """Raise UnknownName (a KeyError) with the nearest entry of `available` if `requested` is not among them."""
    available = list(available)
    if requested not in available:
        raise unknown(kind, requested, available)
