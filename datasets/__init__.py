"""The data sets: one file each, registered with Dassl by being imported here."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from promptclip.common.names import require

require("dassl")


def extend_cfg(cfg: Any) -> None:
    """Add the configuration keys that data sets have beyond Dassl's own."""
    cfg.DATASET.TEMPLATE = ""  # text a class name is put into at {}; "" for the data set's usual one
    cfg.DATASET.LIST = ""  # ImageList only: CSV or JSON-lines file with path, class, split


for _module in sorted(module.name for module in iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")
