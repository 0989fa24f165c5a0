"""What a run ran on, for its record: versions, the commit of the code, the memory it took at most."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
import torchvision

from runs import VERSION

try:
    import resource
except ImportError:  # Windows
    resource = None

CHECKOUT = Path(__file__).resolve().parents[1]


def versions() -> dict[str, str | None]:
    """Of Python, torch, torchvision, clip and this project; None of what was put in place without an installer."""
    found = {"python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__}
    return found | {"clip": installed("clip-anytorch") or installed("clip"), "restore": VERSION}


def installed(package: str) -> str | None:
    """The version of an installed distribution."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_commit(folder: Path = CHECKOUT) -> str | None:
    """The commit of the checkout at `folder`, with "-dirty" behind it if tracked files differ from it.

    None if `folder` is no checkout of its own (an installed package may lie inside somebody else's), or without git.
    """
    try:
        top, commit = git(folder, "rev-parse", "--show-toplevel", "HEAD").splitlines()
        if not os.path.samefile(top, folder):
            return None
        changed = git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if changed else commit


def git(folder: Path, *arguments: str) -> str:
    """What git prints, without taking its locks; raises OSError or SubprocessError where there is none of it."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True, stdin=subprocess.DEVNULL)
    return done.stdout


def peak_memory(cuda: bool) -> dict[str, int | None]:
    """The most memory this process held so far: resident on the host, allocated by torch on the device."""
    host = None
    if resource:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        host = most if sys.platform == "darwin" else most * 1024  # KiB but for macOS
    return {"peak_memory_bytes": host, "peak_device_memory_bytes": torch.cuda.max_memory_allocated() if cuda else None}
