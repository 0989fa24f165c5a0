"""Evaluating what is readable of a damaged data set (TEST.SKIP_BROKEN), with the rest counted and named."""

from typing import Any

from torch.utils.data import default_collate

BROKEN = "broken"
"""Key of a batch under which the sentences on its unreadable images stand; an item that has it has nothing else."""


def collate_readable(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Make a batch of the readable items; it holds nothing but `BROKEN` if there are none."""
    readable = [item for item in items if BROKEN not in item]
    batch = default_collate(readable) if readable else {}
    return batch | {BROKEN: [item[BROKEN] for item in items if BROKEN in item]}
