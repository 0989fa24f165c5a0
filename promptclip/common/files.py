"""Files that several processes use: written complete or not at all, and locked by one at a time.

Neither leaves anything behind when its process is killed. The lock is the kernel's record lock (fcntl) and not the
package filelock, which locks with flock, and that forked children share: tried with its versions 3.13 and 3.20, the
loaders' workers of a killed run kept its directory locked for as long as they lived. Version 4 closes the file in
children, but needs Python 3.11. None of them notices that the locked file was removed, and all leave it behind.
"""

import json
import os
import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


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


# ---- locks -----------------------------------------------------------------------------------------------------------

UNKNOWN = "another process"
NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # a link would have somebody's file overwritten

# A record lock does not exclude its own process, and is lost when that opens and closes the file a second time.
_held: dict[tuple[int, int, int], str] = {}  # (process, device, inode) of a locked file: its holder, in words


LARGEST_RECORD = 10_000_000
"""Bytes of a file that a run leaves about itself; one of ImageNet has some hundred thousand."""


def read_record_file(path: Path) -> Any:
    """What a JSON file that a run left holds; ValueError if it is none, or larger than such files are.

    Brackets take thirty times their room in memory.
    """
    if path.stat().st_size > LARGEST_RECORD:
        raise ValueError(f"{path} is larger than {LARGEST_RECORD:,} bytes, which no run's record is.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path} is nested too deep for a run's record.") from None


class InUse(ValueError):
    """Another process holds the lock. `holder` says which, in words."""

    def __init__(self, path: Path, holder: str):
        super().__init__(f"{path} is held by {holder}.")
        self.holder = holder


class Lock:
    """The lock at `path`, held from `take` to `release`; the file's text is the holder: host, pid, since."""

    def __init__(self, path: Path):
        self.path = path
        self._file: int | None = None
        self._identity = (0, 0, 0)

    def take(self) -> str | None:
        """Lock at once.

        Returns:
            The process that held the lock until it died, in words, if there was one.

        Raises:
            InUse: somebody else has it.
            OSError: the file cannot be written.
        """
        while self._file is None:
            if ours := _held_here(self.path):
                raise InUse(self.path, ours)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o644)
            locked = _lock(file)
            if locked is False:
                os.close(file)
                raise InUse(self.path, _described(self.path))
            if _is_at(file, self.path):
                self._file = file
            else:  # its holder removed it while we opened it
                os.close(file)
        earlier = _words(os.pread(self._file, 1000, 0))
        text = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S %z")}
        content = json.dumps(text).encode()
        self._identity = _identity(os.fstat(self._file))
        _held[self._identity] = _words(content)
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, content, 0)
        except OSError:
            self.release()
            raise
        return earlier if locked and earlier != UNKNOWN else None

    def is_intact(self) -> bool:
        """Whether the file, and so its directory, is still the one that was locked; true if nothing is."""
        return self._file is None or _is_at(self._file, self.path)

    def release(self) -> None:
        """Unlock, leaving no file behind."""
        if self._file is not None:
            if _is_at(self._file, self.path):
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            _held.pop(self._identity, None)
            self._file = None

    def __enter__(self) -> "Lock":
        self.take()
        return self

    def __exit__(self, *exc: Any) -> None:
        self.release()


def holder(path: Path) -> str | None:
    """Who holds the lock at `path` now, in words; None if nobody does, or the file may not be opened."""
    if ours := _held_here(path):
        return ours
    try:
        file = os.open(path, os.O_RDWR | NO_LINK)
    except OSError:
        return None
    try:
        return _described(path) if _lock(file) is False else None
    finally:
        os.close(file)


def _described(path: Path) -> str:
    """The process that a lock file of somebody else names, in words."""
    try:
        with path.open("rb") as file:
            return _words(file.read(1000))
    except OSError:
        return UNKNOWN


def _words(content: bytes) -> str:
    try:
        found = json.loads(content)
        return f"process {int(found['pid'])} on {str(found['host'])[:100]} since {str(found['since'])[:40]}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return UNKNOWN  # it is just writing its name


def _lock(file: int) -> bool | None:
    """Lock an open file; False if another process has. None, and a note, where the system knows no locks."""
    if fcntl is None:
        print("Note: this system has no file locks; see to it that no second run uses the output directory.")
        return None
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        print(f"Note: this file system has no locks ({error.strerror}); see to it that no second run uses it.")
        return None
    return True


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return os.getpid(), status.st_dev, status.st_ino


def _held_here(path: Path) -> str | None:
    """The holder's name if this process holds the lock at `path`."""
    try:
        return _held.get(_identity(os.stat(path)))
    except OSError:
        return None


def _is_at(file: int, path: Path) -> bool:
    """Whether the open `file` is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except OSError:
        return False
