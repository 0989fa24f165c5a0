"""yaml as plain data: nothing in a file is run, and no small file unfolds into a huge one."""

from pathlib import Path
from typing import Any

import yaml

LARGEST = 1_000_000
"""Bytes of a configuration file; the field's have a few hundred."""


def read_yaml(path: Path) -> Any:
    """What the file holds: mappings, lists, texts, numbers, None.

    Raises ValueError if it is no yaml, or uses aliases (`*name`), which the field's files do not and by which ten lines
    can stand for billions of values; OSError if it cannot be read.
    """
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is not a yaml file of a run: it is larger than {LARGEST:,} bytes.")
    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=yaml.SafeLoader)):
            raise ValueError("aliases (*name) are not allowed; write the value out")
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"{path} is not a yaml file: {' '.join(str(error).split())[:300]}") from error
