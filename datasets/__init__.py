"""The data sets. Every file in this folder is imported here, by which its data sets are registered with Dassl."""

from importlib import import_module
from pkgutil import iter_modules

from yacs.config import CfgNode

from promptclip.common.names import require

require("dassl")


def extend_cfg(cfg: CfgNode) -> None:
    """Add the configuration keys that data sets have beyond Dassl's own."""
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"  # all, base (first half of the classes) or new (the rest)
    cfg.DATASET.TEMPLATE = ""  # text a class name is put into at {}; "" for the data set's usual one
    cfg.DATASET.LIST = ""  # ImageList only: CSV or JSON-lines file with path, class, split
    cfg.DATASET.LABEL = ""  # your own images only: what records and tables call them; "" for their folder's name


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
