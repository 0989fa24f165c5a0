"""Read OpenAI's TorchScript archives as data: the weights in them, none of their code.

torch.jit.load compiles the code that an archive brings along. Here only data.pkl is read, by an unpickler that knows
tensors and nothing else, and the tensors' bytes.
"""

import math
import pickle
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from promptclip.common.unpickling import PlainUnpickler

STORAGES = {
    f"{name}Storage": dtype
    for name, dtype in {
        "Float": torch.float32,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Double": torch.float64,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}


CODE = 20_000_000
"""Bytes by which a good archive may unfold: its weights are stored as they are, its code is compressed."""


class Node:
    """A module of the archive, reduced to its attributes."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a module's state is no dict")
        self.state = state


def _first(value: Any, *_: Any) -> Any:
    """Stand for TorchScript's helpers that give a list or dict its type."""
    return value


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive; a plain checkpoint is a zip archive too, but without constants.pkl."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def check_zip(path: Path) -> None:
    """Raise ValueError if a zip file's parts are damaged, or unfold to far more than the file."""
    with zipfile.ZipFile(path) as archive:
        if sum(part.file_size for part in archive.infolist()) > path.stat().st_size + CODE:
            raise ValueError("its parts unfold to far more than the file")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"bad check sum in {damaged}")


def read_torchscript(path: Path) -> dict[str, torch.Tensor]:
    """The state dict of the archive's module. Whatever is wrong with the file raises some Exception."""
    with zipfile.ZipFile(path) as archive:
        (entry,) = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        root = entry.partition("/")[0]
        with archive.open(entry) as file:
            module = PlainUnpickler(file, _find, partial(_storage, archive, root)).load()
    state: dict[str, torch.Tensor] = {}
    _collect(module, "", state, depth=0)
    return state


def _collect(module: Any, prefix: str, state: dict[str, torch.Tensor], depth: int) -> None:
    """Gather the tensors below `module` under their dotted names."""
    if depth > 20:
        raise ValueError("its modules are nested too deeply")
    for name, value in getattr(module, "state", {}).items():
        if isinstance(value, torch.Tensor):
            state[f"{prefix}{name}"] = value
        elif isinstance(value, Node):
            _collect(value, f"{prefix}{name}.", state, depth + 1)
    if len(state) > 100_000:
        raise ValueError("it holds too many tensors")


def _find(module: str, name: str) -> Any:
    """What stands for a name of the pickle; only modules, tensors and plain containers have any."""
    if module.split(".")[0] == "__torch__":
        return Node
    if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
        return _tensor
    if module == "torch" and name in STORAGES:
        return STORAGES[name]
    if module == "torch.jit._pickle":
        return _first
    if (module, name) == ("collections", "OrderedDict"):
        return dict
    raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no tensor; nothing of it was executed")


def _storage(archive: zipfile.ZipFile, root: str, key: Any) -> torch.Tensor:
    """The numbers of one tensor, which lie in a file of their own in the archive."""
    kind, dtype, name, _device, count = key
    if kind != "storage" or dtype not in STORAGES.values():
        raise pickle.UnpicklingError(f"it refers to {kind!r}, which is no tensor's storage")
    data = bytearray(archive.read(f"{root}/data/{name}"))
    return torch.frombuffer(data, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)


def _tensor(storage: torch.Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> torch.Tensor:
    """A tensor over its own bytes (a copy, so that none shares another's or repeats an element)."""
    if math.prod(size) > storage.numel():
        raise pickle.UnpicklingError("a tensor is larger than its storage")
    return storage.as_strided(size, stride, offset).clone()
