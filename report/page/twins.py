"""Near-duplicates: pictures of one thing in two styles, which a list of images shows once."""

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

STYLES = re.compile(r"_(3d|color|flat|high_contrast)$")
"""How the embedded data set's files end before the format: one emoji as a flat drawing and as a 3D one."""
T = TypeVar("T")


def thing(path: str) -> str:
    """What an image shows, by its path: the same for the styles of one emoji, else the path itself."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/{STYLES.sub('', name.rpartition('.')[0] or name)}"


def once(items: Iterable[T], path: Callable[[T], str], most: int) -> list[tuple[T, int]]:
    """The first `most` things among `items`, each with how many of the items show it."""
    found: dict[str, tuple[T, int]] = {}
    for item in items:
        key = thing(path(item))
        first, count = found.get(key, (item, 0))
        found[key] = first, count + 1
    return list(found.values())[:most]
