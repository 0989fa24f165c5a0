"""Files that appear complete or not at all, and leave nothing behind when their writer is killed."""

import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO


def write_atomically(
    path: Path, content: str | bytes | Callable[[IO[bytes]], None], keep_existing: bool = False
) -> None:
    """Put `content` under `path` so that a reader, or a kill, never meets half of it. The folder is made.

    Any number of processes may write the same file: each has a part of its own beside it, which names its host and
    process, so that the next writer clears away what killed ones left.

    Args:
        path: where the file shall appear.
        content: text (UTF-8), bytes, or a function that writes to the open file.
        keep_existing: leave a file that another process has put there meanwhile.

    Raises:
        OSError: names `path`; what was there is untouched and no part is left.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_dead_parts(path)
        part = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                if callable(content):
                    content(file)
                else:
                    file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            if not (keep_existing and path.exists()):
                os.replace(part, path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(f"{path} cannot be written ({error.strerror or error}); what was there is untouched.") from error


def _clear_dead_parts(path: Path) -> None:
    """Remove parts of `path` whose process on this host is gone, and those of earlier versions' naming."""
    own = re.compile(rf"\.{re.escape(path.name)}\.(?:{re.escape(socket.gethostname())}-(\d+)\.|\w{{8}}\.)?part")
    for name in os.listdir(path.parent):
        found = own.fullmatch(name)
        if found and not (found[1] and _is_alive(int(found[1]))):
            with suppress(OSError):
                (path.parent / name).unlink()


def _is_alive(process: int) -> bool:
    """Whether this host runs a process of that number."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # somebody else's
    return True
