"""A yacs node whose merges explain themselves."""

from ast import literal_eval
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

import yaml
from yacs.config import CfgNode as YacsNode

from dassl.utils.names import UnknownName


class CfgNode(YacsNode):
    """The configuration: a yacs CfgNode that names the nearest key for an unknown one and the type it expects.

    Nodes below it may be plain yacs nodes, as code of the CoOp family adds them.
    """

    def merge_from_file(self, cfg_filename: str) -> None:
        """Merge a yaml file. Raises FileNotFoundError, ValueError (no yaml, wrong type), UnknownName (a KeyError)."""
        try:
            with open(cfg_filename, encoding="utf-8") as f:
                content = yaml.safe_load(f)
        except FileNotFoundError:
            raise FileNotFoundError(f'There is no configuration file at "{cfg_filename}".') from None
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as err:
            raise ValueError(f'"{cfg_filename}" is not a valid yaml file: {" ".join(str(err).split())}') from err
        content = {} if content is None else content
        if not isinstance(content, dict):
            raise ValueError(f'"{cfg_filename}" must hold "KEY: value" lines, not a {type(content).__name__}.')
        try:
            self.merge_from_other_cfg(YacsNode(content))
        except UnknownName as err:
            raise UnknownName(f'In "{cfg_filename}": {err}') from None
        except ValueError as err:
            raise ValueError(f'In "{cfg_filename}": {err}') from None

    def merge_from_other_cfg(self, cfg_other: YacsNode) -> None:
        """Merge another node of the same layout; a wrong key changes nothing. Raises UnknownName, ValueError."""
        for node, name, value in list(_fitted(cfg_other, self, self, "")):
            node[name] = value

    def merge_from_list(self, cfg_list: Sequence[Any]) -> None:
        """Merge ["OPTIM.LR", 0.01, …]. Raises UnknownName (a KeyError), or ValueError for a wrong type."""
        if len(cfg_list) % 2:
            raise ValueError(
                f"Configuration values come in pairs KEY VALUE; the last key, {cfg_list[-1]}, has no value."
            )
        for key, value in zip(cfg_list[0::2], cfg_list[1::2], strict=True):
            if self.key_is_deprecated(key):
                continue
            if self.key_is_renamed(key):
                self.raise_key_rename_error(key)
            *path, name = key.split(".")
            node = _node(self, path, name)
            node[name] = _fitting(node[name], value, key)


def _node(root: YacsNode, path: list[str], name: str) -> YacsNode:
    """Return the node at `path`, which must hold `name`. Raises UnknownName with the nearest key."""
    node: Any = root
    for part in path:
        node = node.get(part) if isinstance(node, YacsNode) else None
    if not isinstance(node, YacsNode) or name not in node:
        raise _unknown_key(".".join([*path, name]), root)
    return node


def _fitted(new: YacsNode, old: YacsNode, root: YacsNode, prefix: str) -> Iterator[tuple[YacsNode, str, Any]]:
    """Yield (node of `old`, name, value to put there) for every setting in `new`, checked."""
    for name, value in new.items():
        key = f"{prefix}{name}"
        if root.key_is_deprecated(key):
            continue
        if root.key_is_renamed(key):
            root.raise_key_rename_error(key)
        if name not in old:
            if not old.is_new_allowed():
                raise _unknown_key(key, root)
            yield old, name, deepcopy(value)
        elif isinstance(old[name], YacsNode):
            if not isinstance(value, dict):
                raise ValueError(f"{key} is a group of settings, it cannot be set to {value!r}.")
            yield from _fitted(value, old[name], root, key + ".")
        else:
            yield old, name, _fitting(old[name], deepcopy(value), key)


def _fitting(old: Any, value: Any, key: str) -> Any:
    """Return `value`, decoded from text, in the type of `old`: whole numbers serve as floats, lists as tuples."""
    if isinstance(old, YacsNode):
        raise ValueError(f"{key} is a group of settings, it cannot be set to {value!r}; try {_first_key(old, key)}.")
    if isinstance(value, str):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            decoded = literal_eval(value)
            # A text setting may look like a number; it stays the text it is.
            value = value if isinstance(old, str) and not isinstance(decoded, str) else decoded
    if isinstance(old, float) and type(value) is int:
        return float(value)
    if isinstance(old, tuple | list) and isinstance(value, tuple | list):
        return type(old)(value)
    if old is not None and value is not None and type(value) is not type(old):
        raise ValueError(f"{key} must be of type {type(old).__name__} (it is {old!r} now), not {value!r}.")
    return value


def _first_key(node: YacsNode, key: str) -> str:
    return f"{key}.{next(iter(node), '…')}"


def _unknown_key(key: str, root: YacsNode) -> UnknownName:
    known = list(_flat(root))
    # A right last part in a wrong place is the likelier slip than similar spelling of the whole.
    last = key.rsplit(".", 1)[-1].upper()
    same = [k for k in known if k.rsplit(".", 1)[-1] == last]
    close = get_close_matches(key.upper(), same or known, n=1, cutoff=0.0 if same else 0.5)
    hint = f"; did you mean {close[0]}?" if close else "."
    return UnknownName(f"{key} is not a key of the configuration{hint}")


def _flat(node: YacsNode, prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        if isinstance(value, YacsNode):
            yield from _flat(value, f"{prefix}{name}.")
        yield prefix + str(name)
