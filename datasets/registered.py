"""Importing this registers all data sets with Dassl: every other file of this folder is imported here."""

from importlib import import_module
from pkgutil import iter_modules

import datasets
from promptclip.common.names import require

require("dassl")

from datasets.base import extend_cfg  # noqa: E402

__all__ = ["extend_cfg"]


for _module in iter_modules(datasets.__path__):
    if f"{datasets.__name__}.{_module.name}" != __name__ and not _module.ispkg:
        import_module(f"{datasets.__name__}.{_module.name}")
