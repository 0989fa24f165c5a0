"""The data sets. Every file in this folder is imported here, by which its data sets are registered with Dassl."""

from importlib import import_module
from pkgutil import iter_modules

from promptclip.common.names import require

require("dassl")

from datasets.base import extend_cfg  # noqa: E402

__all__ = ["extend_cfg"]


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
