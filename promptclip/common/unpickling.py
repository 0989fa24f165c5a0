"""A pickle read as data: whatever it names is looked up in a table, nothing in it is executed."""

import pickle
from collections.abc import Callable
from typing import IO, Any


class PlainUnpickler(pickle._Unpickler):
    """Builds numbers, texts, lists and dicts, and what `find` knows.

    This is the unpickler written in Python: the faster one in C allocates a table of whatever size a file names, so
    that a file of ten bytes can ask for 64 GB. The one instruction by which this one would too is left out.

    Args:
        file: the open pickle.
        find: stands for (module, name) of the pickle, or raises an error that says why not.
        load_persistent: makes of a reference to something outside the pickle what it stands for; without it such
            references are refused.
    """

    dispatch = {code: step for code, step in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]}

    def __init__(
        self,
        file: IO[bytes],
        find: Callable[[str, str], Any],
        load_persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(file)
        self._find, self._load_persistent = find, load_persistent

    def find_class(self, module: str, name: str) -> Any:
        """What the pickle's (module, name) stands for."""
        return self._find(module, name)

    def persistent_load(self, key: Any) -> Any:
        """What lies outside the pickle under `key`."""
        if self._load_persistent is None:
            raise pickle.UnpicklingError("it refers to objects outside of the file")
        return self._load_persistent(key)
