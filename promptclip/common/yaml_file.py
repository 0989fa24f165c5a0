"""yaml as plain data: nothing in a file is run, nothing is read twice, no small file unfolds into a huge one."""

from pathlib import Path
from typing import Any

import yaml

LARGEST = 200_000
"""Bytes of a configuration file; the field's have a few hundred, and yaml reads some 100,000 a second."""
DEEPEST = 50
"""Levels of nesting; looking ahead over thousands of open brackets takes yaml minutes."""
LONGEST = 10_000
"""Letters of one value; a number of a million parts (1:2:3:...) takes yaml minutes too."""


def read_yaml(path: Path) -> Any:
    """What the file holds: mappings, lists, texts, numbers, None.

    Raises:
        ValueError: it is no yaml, has a key twice in one section, or uses aliases (`*name`), which the field's files do
            not and by which ten lines can stand for billions of values.
        OSError: it cannot be read.
    """
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is not a yaml file of a run: it is larger than {LARGEST:,} bytes.")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except _RepeatedKey as error:
        raise ValueError(f"In {path}, {error}") from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"{path} is not a yaml file: {' '.join(str(error).split())[:300]}") from error


class _RepeatedKey(ValueError):
    """A section has a key twice."""


class _Loader(yaml.SafeLoader):
    """The safe loader, which refuses what would take long, grow large, or silently replace what stood before."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Read one value, with the lines it spans."""
        if self.check_event(yaml.AliasEvent):
            raise ValueError("aliases (*name) are not allowed; write the value out")
        if self.check_event(yaml.ScalarEvent) and len(self.peek_event().value) > LONGEST:
            raise ValueError(f"a value in line {_line(self.peek_event())} has more than {LONGEST:,} letters")
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError(f"line {_line(self.peek_event())} is nested more than {DEEPEST} levels deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        """A section; a key that it has twice would lose what stood below the first."""
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise ValueError("merging (<<) is not allowed; write the values out")
            key = self.construct_object(key_node, deep=True)
            if key in lines:
                raise _RepeatedKey(
                    f"{key} stands in line {lines[key]} and again in line {_line(key_node)} of the same section, which "
                    "would discard the first: join the two."
                )
            lines[key] = _line(key_node)
        return super().construct_mapping(node, deep)


def _line(mark: Any) -> int:
    return mark.start_mark.line + 1
