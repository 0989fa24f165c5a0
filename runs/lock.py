"""One process at a time in an output directory: a lock that says who holds it and dies with its holder.

The kernel's record lock (fcntl) is used instead of a package: it falls with its process whatever kills that, is not
inherited by the loaders' workers, which may outlive a killed run by seconds, and holds between machines on NFS.
"""

import json
import os
import socket
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = ".lock"


class Lock:
    """`directory`/.lock, held from `take` to `release`; its text is the holder: host, pid, since."""

    def __init__(self, directory: Path):
        self.path = directory / NAME
        self._file: int | None = None

    def take(self) -> None:
        """Lock, or raise ValueError that says who holds it, OSError if the directory cannot be written."""
        while self._file is None:
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise OSError(unwritable(self.path.parent, error)) from error
            locked = lock(file)
            if locked is False:
                os.close(file)
                raise ValueError(
                    f"{self.path.parent} is in use by {holder(self.path)}; wait for that run, or choose another "
                    "--output-dir."
                )
            if self._is(file):
                self._file = file
            else:  # its holder removed it while we opened it
                os.close(file)
        earlier = described(os.pread(self._file, 1000, 0))  # opening it again and closing that would unlock it
        if locked and earlier != UNKNOWN:
            print(f"Taking over {self.path.parent} from {earlier}, which is dead.")
        text = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S %z")}
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, json.dumps(text).encode(), 0)
        except OSError as error:
            self.release()
            raise OSError(unwritable(self.path.parent, error)) from error

    def check(self) -> None:
        """Raise FileNotFoundError if the directory has been removed, or replaced, since it was locked."""
        if self._file is not None and not self._is(self._file):
            raise FileNotFoundError(
                f"The output directory {self.path.parent} was removed or replaced while the run was writing to it; "
                "nothing more is saved. Restore it, or start anew in another directory."
            )

    def release(self) -> None:
        """Unlock, leaving no file behind."""
        if self._file is not None:
            if self._is(self._file):
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def _is(self, file: int) -> bool:
        """Whether the open `file` is the one at `path`."""
        try:
            return os.path.samestat(os.fstat(file), os.stat(self.path))
        except OSError:
            return False


def lock(file: int) -> bool | None:
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


UNKNOWN = "another process"


def holder(path: Path) -> str:
    """Who the lock file says holds it, in words."""
    try:
        return described(path.read_bytes()[:1000])
    except OSError:
        return UNKNOWN


def described(content: bytes) -> str:
    """The holder's name for itself, in words."""
    try:
        found = json.loads(content)
        return f"process {int(found['pid'])} on {str(found['host'])[:100]} since {str(found['since'])[:40]}"
    except (ValueError, KeyError, TypeError):
        return UNKNOWN  # it is just writing its name


def unwritable(directory: Path, error: OSError) -> str:
    """One sentence on an output directory in which nothing can be written."""
    return (
        f"The output directory {directory} cannot be written ({error.strerror or error}); make it writable, or choose "
        "another --output-dir."
    )
