"""The configuration: one tree of defaults that yaml files and command lines override."""

from yacs.config import CfgNode as YacsNode

from dassl.config.defaults import _C
from dassl.config.node import CfgNode


def get_cfg_default() -> CfgNode:
    """Return a fresh, changeable copy of the defaults."""
    return _C.clone()


def clean_cfg(cfg: YacsNode, trainer: str) -> None:
    """Remove the nodes of all trainers but `trainer` from cfg.TRAINER, so that a printed configuration stays short."""
    for name in list(cfg.TRAINER):
        if name not in ("NAME", trainer.upper()):
            cfg.TRAINER.pop(name)


__all__ = ["CfgNode", "clean_cfg", "get_cfg_default"]
