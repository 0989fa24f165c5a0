"""Maps names to the classes and functions that register themselves under them."""

from collections.abc import Callable
from typing import Any

from dassl.utils.names import unknown


class Registry:
    """A table of objects by name, filled with `@REGISTRY.register()`.

    `force=True` lets a later registration replace an earlier one of the same name; without it that is a KeyError.
    """

    def __init__(self, name: str):
        self._name = name
        self._obj_map: dict[str, Any] = {}

    def register(self, obj: Any = None, force: bool = False) -> Any:
        """Register `obj` under its `__name__`; called without `obj`, return the decorator that does so."""

        def add(target: Any) -> Any:
            if target.__name__ in self._obj_map and not force:
                raise KeyError(
                    f'"{target.__name__}" is already registered in {self._name}; pass force=True to replace it.'
                )
            self._obj_map[target.__name__] = target
            return target

        return add if obj is None else add(obj)

    def get(self, name: str) -> Callable:
        """Return what is registered under `name`. Raises KeyError with the nearest registered name."""
        if name not in self._obj_map:
            raise unknown(f"{self._name.lower()} name", name, self._obj_map)
        return self._obj_map[name]

    def registered_names(self) -> list[str]:
        """Return the registered names in the order of registration."""
        return list(self._obj_map)

    def __contains__(self, name: str) -> bool:
        return name in self._obj_map
