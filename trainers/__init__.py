"""The methods: one file each, registered with Dassl by being imported here."""

from importlib import import_module
from pkgutil import iter_modules

from promptclip.common.names import require

require("torch", "dassl", "clip")

import_module(f"{__name__}.upstream")  # before the methods, which import what it repairs
for _module in sorted(module.name for module in iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")
