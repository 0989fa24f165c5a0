"""What a run ran on: determinism asked for and got, versions, the commit of the code, the memory it took at most."""

import os
import platform
import re
import subprocess
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import torchvision

from promptclip.cli import VERSION

try:
    import resource
except ImportError:  # Windows
    resource = None

CHECKOUT = Path(__file__).resolve().parents[1]
# torch's wordings, of a warning and of an error; with warn_only its fused attention does not choose its deterministic
# form, and says so
UNAVAILABLE = re.compile(
    r"(\S+) does not have a deterministic implementation|([\w ]+) defaults to a non-deterministic algorithm"
)

SHARED_BYTES = "RUN_SHARED_BYTES"
"""Environment variable: resident bytes of the server that forked this process which are not counted as its own."""


STRICTNESS = ("strict", "warn")


def has_no_deterministic_form(error: BaseException) -> bool:
    """Whether a strict `Determinism` broke off an operation."""
    return isinstance(error, RuntimeError) and UNAVAILABLE.search(str(error)) is not None


class Determinism:
    """Same seed, same machine, same numbers: asks torch for deterministic algorithms, notes the operations without one.

    `seed` below 0 asks for nothing: such a run is not to be repeated. On the CPU, results also depend on the number of
    threads, which is therefore in the record. Float32 is float32 meanwhile: convolutions too are not rounded to TF32.

    Args:
        seed: the run's.
        cuda: whether it computes on a GPU.
        strict: on a GPU, refuse operations without a deterministic algorithm (`has_no_deterministic_form`); only then
            do fused attentions choose theirs.
    """

    def __init__(self, seed: int, cuda: bool, strict: bool = False):
        self.seed, self.cuda, self.strict = seed, cuda, strict and cuda
        self.without: set[str] = set()

    def __enter__(self) -> "Determinism":
        self._show = warnings.showwarning
        self._before = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        self._tf32 = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = False
        if self.seed >= 0:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
            torch.backends.cudnn.benchmark = False
            torch.use_deterministic_algorithms(True, warn_only=not self.strict)
            torch.utils.deterministic.fill_uninitialized_memory = False  # guards against reading it; costs time
            warnings.showwarning = self._watch
        elif self.cuda:
            torch.backends.cudnn.benchmark = True
        return self

    def __exit__(self, *exc: Any) -> None:
        warnings.showwarning = self._show
        torch.backends.cudnn.allow_tf32 = self._tf32
        torch.use_deterministic_algorithms(self._before[0], warn_only=self._before[1])

    def _watch(self, message: Warning | str, *args: Any, **kwargs: Any) -> None:
        found = UNAVAILABLE.search(str(message))
        if found:
            self.without.add((found[1] or found[2]).strip())
        else:
            self._show(message, *args, **kwargs)

    def record(self) -> dict[str, Any]:
        """`deterministic`, why not where it is False, device and CPU threads, for metrics.json."""
        reasons = ["no seed was set (SEED -1)"] if self.seed < 0 else []
        reasons += [f"torch has no deterministic {name} on this device" for name in sorted(self.without)]
        found: dict[str, Any] = {"deterministic": not reasons}
        if reasons:
            found["not_deterministic_because"] = reasons
        device = torch.cuda.get_device_name() if self.cuda else "cpu"
        return found | {"device": device, "threads": torch.get_num_threads()}


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


def peak_resident() -> int | None:
    """Bytes that were resident at most; None where the system does not tell.

    Linux's `ru_maxrss` is that of whoever started this process, if that was larger: so /proc is asked first.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii", errors="replace").splitlines() if status.is_file() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    if resource is None:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # KiB but for macOS


def peak_memory(cuda: bool) -> dict[str, int | None]:
    """The most memory this process held so far: resident on the host, allocated by torch on the device.

    A forked run is not charged with what it shares of its server's libraries; who forked it says in the environment
    how much that is (`SHARED_BYTES`), so that runs compare.
    """
    host = peak_resident()
    if host is not None:
        host += int(os.environ.get(SHARED_BYTES, 0))
    return {"peak_memory_bytes": host, "peak_device_memory_bytes": torch.cuda.max_memory_allocated() if cuda else None}
