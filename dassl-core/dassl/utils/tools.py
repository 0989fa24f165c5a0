"""Small helpers around files, random numbers and the environment of a run."""

import json
import os
import os.path as osp
import platform
import random
import shutil
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import IO, Any

import numpy as np
import torch

from dassl.utils.images import read_image
from dassl.utils.registry import check_availability, nearest

__all__ = [
    "atomic_write",
    "check_availability",
    "check_isfile",
    "collect_env_info",
    "download_url",
    "get_most_similar_str_to_a_from_b",
    "get_rng_state",
    "listdir_nohidden",
    "mkdir_if_missing",
    "read_image",
    "read_json",
    "set_random_seed",
    "set_rng_state",
    "tolist_if_not",
    "write_json",
]

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "yacs", "tensorboard", "clip-anytorch", "dassl")


# Files


def mkdir_if_missing(dirname: str) -> None:
    """Create a folder and its parents unless it is there already."""
    if dirname:
        os.makedirs(dirname, exist_ok=True)


def check_isfile(fpath: str) -> bool:
    """Tell whether `fpath` is a file, with a warning if it is not."""
    found = osp.isfile(fpath)
    if not found:
        warnings.warn(f'No file found at "{fpath}"', stacklevel=2)
    return found


def listdir_nohidden(path: str, sort: bool = True) -> list[str]:
    """List the names in `path` that do not start with a dot.

    The list is sorted whatever `sort` says: an order that depends on the file system would make few-shot samples
    differ from machine to machine.
    """
    return sorted(name for name in os.listdir(path) if not name.startswith("."))


def tolist_if_not(x: Any) -> list:
    """Put anything that is not a list into a list of one."""
    return x if isinstance(x, list) else [x]


@contextmanager
def atomic_write(fpath: str, mode: str = "wb", shared: bool = False) -> Iterator[IO]:
    """Open a file whose content appears under `fpath` at once and complete, or not at all.

    The content goes to a hidden file beside it, is forced to the disk and then moved into place. That file's name is
    always the same, so that killed writers leave no pile.

    Args:
        fpath: where the content shall appear.
        mode: "wb", or "w" for text in UTF-8.
        shared: give every process a hidden file of its own, where several may write the same thing.

    Raises:
        OSError: names `fpath`; what was there stays.
    """
    folder = osp.dirname(osp.abspath(fpath))
    writer = f"{os.getpid()}." if shared else ""
    part = osp.join(folder, f".{osp.basename(fpath).split('-')[0]}.{writer}part")
    try:
        with open(part, mode, encoding=None if "b" in mode else "utf-8") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.replace(part, fpath)
        _sync_folder(folder)
    except BaseException as err:
        if osp.exists(part):
            os.remove(part)
        # torch.save reports a full disk as a RuntimeError of its zip writer, which hides the reason.
        if isinstance(err, RuntimeError) and isinstance(err.__context__, OSError):
            err = err.__context__
        if isinstance(err, OSError | RuntimeError):
            raise OSError(
                f'"{fpath}" could not be written ({err}); the file that was there before is untouched.'
            ) from err
        raise


def _sync_folder(folder: str) -> None:
    """Force the renaming itself to the disk, on systems that can open a folder."""
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def read_json(fpath: str) -> Any:
    """Read a JSON file. Raises ValueError with the path if it is not JSON."""
    with open(fpath, encoding="utf-8") as f:
        try:
            return json.load(f)
        except (ValueError, RecursionError) as err:
            raise ValueError(f'"{fpath}" is not a valid JSON file ({err}).') from err


def write_json(obj: Any, fpath: str) -> None:
    """Write a JSON file, its folder included; nobody ever sees it half-written."""
    mkdir_if_missing(osp.dirname(fpath))
    with atomic_write(fpath, "w", shared=True) as f:
        json.dump(obj, f, indent=4, separators=(",", ": "))


def download_url(url: str, dst: str) -> None:
    """Download a file to `dst`, complete or not at all. Raises OSError."""
    print(f'* url="{url}"\n* destination="{dst}"')
    with urllib.request.urlopen(url) as source, atomic_write(dst) as f:
        shutil.copyfileobj(source, f)


def get_most_similar_str_to_a_from_b(a: str, b: Sequence[str]) -> str | None:
    """Return the entry of `b` that looks most like `a`."""
    return nearest(a, b, cutoff=0.0)


# Random numbers


def set_random_seed(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators, CUDA's included. Raises ValueError outside 0 … 2**32 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"A seed must be a whole number from 0 to {2**32 - 1}, not {seed!r}.")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)


def get_rng_state() -> dict[str, Any]:
    """Return the state of all generators as plain numbers, tuples and CPU tensors."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore what get_rng_state returned; CUDA devices that one of the two machines lacks are left alone."""
    random.setstate(state["python"])
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for device, cuda_state in zip(range(devices), state["cuda"], strict=False):
        torch.cuda.set_rng_state(cuda_state, device)


# Environment


def collect_env_info() -> str:
    """Return a few lines about the system, Python, the packages that matter and the GPUs."""
    lines = [
        f"System: {platform.platform()}, {os.cpu_count()} CPUs, {torch.get_num_threads()} torch threads",
        f"Python: {platform.python_version()}",
        "Packages: " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        f"CUDA: {torch.version.cuda or 'not built in'}",
    ]
    if torch.cuda.is_available():
        lines += [f"GPU {i}: {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    else:
        lines.append("GPU: none")
    return "\n".join(lines)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
