"""A yacs node whose merges explain themselves, and read nothing that could run or exhaust the machine."""

from ast import literal_eval
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from typing import Any

import yaml
from yacs.config import CfgNode as YacsNode

from dassl.utils.registry import UnknownName, nearest

MAX_YAML = 100_000
"""Characters of a configuration file; the field's have a few hundred."""
MAX_DEPTH = 50

_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


class CfgNode(YacsNode):
    """The configuration: a yacs CfgNode that names the nearest key for an unknown one and the type it expects.

    Nodes below it may be plain yacs nodes, as CoOp-style code adds them.
    """

    def merge_from_file(self, cfg_filename: str) -> None:
        """Merge a yaml file; a file with a mistake in it changes nothing.

        Raises:
            FileNotFoundError: there is none.
            UnknownName: it sets a key that does not exist (also a KeyError).
            ValueError: it is no yaml, uses aliases, names a key twice, or sets a value of a wrong type.
        """
        content = _read_yaml(cfg_filename)
        content = {} if content is None else content
        if not isinstance(content, dict):
            raise ValueError(f'"{cfg_filename}" must hold "KEY: value" lines, not a {type(content).__name__}.')
        try:
            self.merge_from_other_cfg(YacsNode(content))
        except (ValueError, AssertionError) as err:  # yacs asserts that a value is of a type it knows
            raise (UnknownName if isinstance(err, UnknownName) else ValueError)(f'In "{cfg_filename}": {err}') from None

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


def clean_cfg(cfg: YacsNode, trainer: str) -> None:
    """Remove the nodes of all trainers but `trainer` from cfg.TRAINER, so that a printed configuration stays short."""
    for name in list(cfg.TRAINER):
        if name not in ("NAME", trainer.upper()):
            cfg.TRAINER.pop(name)


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, where yaml silently keeps the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in lines:
                    raise ValueError(f"{key.value} stands twice, in lines {lines[key.value]} and {line}; keep one")
                lines[key.value] = line
        return super().construct_mapping(node, deep)


def _read_yaml(path: str) -> Any:
    """Return what a yaml file holds, as plain data. Raises FileNotFoundError, or ValueError with the path.

    Aliases are refused, since ten lines of them can stand for billions of values; and so is deep nesting, which the
    reader takes quadratically long for.
    """
    try:
        with open(path, encoding="utf-8") as f:
            text = f.read(MAX_YAML + 1)
        if len(text) > MAX_YAML:
            raise ValueError(f"it is longer than {MAX_YAML:,} characters")
        depth = 0
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.AliasToken):
                raise ValueError(f"aliases (*{token.value}) are not allowed; write the value out")
            depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
            if depth > MAX_DEPTH:
                raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        return yaml.load(text, Loader=_Loader)
    except FileNotFoundError:
        raise FileNotFoundError(f'There is no configuration file at "{path}".') from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as err:
        raise ValueError(f'"{path}" is not a valid yaml file: {" ".join(str(err).split())[:300]}') from err


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
    guess = nearest(key, same or known, cutoff=0.0 if same else 0.5)
    hint = f"; did you mean {guess}?" if guess else "."
    return UnknownName(f"{key} is not a key of the configuration{hint}")


def _flat(node: YacsNode, prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        if isinstance(value, YacsNode):
            yield from _flat(value, f"{prefix}{name}.")
        yield prefix + str(name)
