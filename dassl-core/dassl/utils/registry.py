"""Names that classes and functions are registered under, and sentences for names that are not."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any


class UnknownName(KeyError, ValueError):
    """A name that nothing is registered under; its text is one sentence that holds the nearest valid name."""

    def __str__(self) -> str:
        # KeyError shows repr(message), which would put the sentence in quotation marks.
        return str(self.args[0]) if self.args else ""


def nearest(name: str, valid: Iterable[str], cutoff: float = 0.5) -> str | None:
    """Return the entry of `valid` that looks most like `name`, letter case aside, or None if nothing comes near."""
    by_folded = {str(v).lower(): str(v) for v in valid}
    close = get_close_matches(str(name).lower(), by_folded, n=1, cutoff=cutoff)
    return by_folded[close[0]] if close else None


def unknown(kind: str, name: str, valid: Iterable[str]) -> UnknownName:
    """Return the error for an unknown `name`: it offers the nearest valid name, or else all of them."""
    valid = sorted(str(v) for v in valid)
    guess = nearest(name, valid)
    if guess is not None:
        return UnknownName(f'Unknown {kind} "{name}"; did you mean "{guess}"?')
    return UnknownName(f'Unknown {kind} "{name}"; known are: {", ".join(valid) or "none"}.')


def check_availability(requested: str, available: Iterable[str], kind: str = "name") -> None:
    """Raise UnknownName (a KeyError and a ValueError) if `requested` is not among `available`."""
    available = list(available)
    if requested not in available:
        raise unknown(kind, requested, available)


class Registry:
    """A table of classes and functions by name, filled with `@REGISTRY.register()`.

    Args:
        name: what is registered, such as "TRAINER"; messages use it.
    """

    def __init__(self, name: str):
        self._name = name
        self._obj_map: dict[str, Any] = {}

    def register(self, obj: Any = None, force: bool = False) -> Any:
        """Register `obj` under its `__name__`; called without `obj`, return the decorator that does so.

        Raises:
            KeyError: the name is taken, and `force` does not allow to replace it.
        """

        def add(target: Any) -> Any:
            if target.__name__ in self._obj_map and not force:
                raise KeyError(
                    f'"{target.__name__}" is already registered in {self._name}; pass force=True to replace it.'
                )
            self._obj_map[target.__name__] = target
            return target

        return add if obj is None else add(obj)

    def get(self, name: str) -> Callable:
        """Return what is registered under `name`. Raises UnknownName with the nearest registered name."""
        check_availability(name, self._obj_map, self._name.lower())
        return self._obj_map[name]

    def build(self, name: str, *args: Any, verbose: bool = True, **kwargs: Any) -> Any:
        """Call what is registered under `name` with the arguments. Raises UnknownName."""
        target = self.get(name)
        if verbose:
            print(f"Loading {self._name.lower()}: {name}")
        return target(*args, **kwargs)

    def registered_names(self) -> list[str]:
        """Return the registered names in the order of registration."""
        return list(self._obj_map)

    def __contains__(self, name: str) -> bool:
        return name in self._obj_map
