"""The configuration: one tree of defaults that yaml files and command lines override."""

from dassl.config.defaults import get_cfg_default
from dassl.config.node import CfgNode, clean_cfg

__all__ = ["CfgNode", "clean_cfg", "get_cfg_default"]
