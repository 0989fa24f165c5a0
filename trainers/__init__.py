"""The methods: one file each, registered with Dassl by being imported here."""

from importlib import import_module
from pkgutil import iter_modules

from promptclip.common.packages import require

require("torch", "dassl", "clip")

from yacs.config import CfgNode  # noqa: E402


def extend_cfg(cfg: CfgNode) -> None:
    """Add the configuration keys that the one trainer of all methods has beyond Dassl's own."""
    # Compute the towers' blocks again in the backward pass: on, off, or auto, where too little memory is free
    cfg.MODEL.CHECKPOINTING = "auto"
    cfg.MODEL.CUDA_GRAPH = True  # capture the training step once and replay it; on a CPU there is nothing to capture


import_module(f"{__name__}.upstream")  # before the methods, which import what it repairs
for _module in sorted(module.name for module in iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")
