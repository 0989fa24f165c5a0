"""The tensors in a file of weights, read as data: a state dict as torch saves it, OpenAI's TorchScript archive, or
safetensors.

Nothing in a file is executed, and none takes more memory than it is long. A TorchScript archive brings code, which
torch.jit.load would compile; here only its data.pkl is read, by an unpickler that knows tensors and nothing else, and
the tensors' bytes.
"""

import math
import pickle
import warnings
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from promptclip.common.unpickling import PlainUnpickler


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file by name, of a checkpoint those under its `state_dict`; without DataParallel's "module.".

    Raises:
        OSError: the file may not be read.
        ValueError: it is damaged, of another kind, holds something else than tensors, or would need far more memory
            than it is long.
    """
    with path.open("rb"):
        pass  # a file that may not be read is an OSError of its own; whatever fails from here on is the content
    try:
        if zipfile.is_zipfile(path):
            check_zip(path)
        state: Any
        if is_torchscript(path):
            state = read_torchscript(path)
        elif is_safetensors(path):
            with safe_open(path, framework="pt") as file:
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        state = state.get("state_dict", state) if isinstance(state, dict) else {}
        state = state if isinstance(state, dict) else {}
        check_extent(state, path)
    except Exception as error:  # a damaged archive makes its readers stumble in many ways
        raise ValueError(
            f"{path} cannot be read as CLIP's weights ({brief(error)}); download or copy it again."
        ) from error
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as one of safetensors does: the length of a header, then the header in JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def check_extent(state: dict, path: Path) -> None:
    """Refuse tensors that repeat the same bytes so often that they stand for more than the file holds."""
    tensors = [value for value in state.values() if isinstance(value, torch.Tensor)]
    if any(value.layout != torch.strided or value.device.type != "cpu" for value in tensors):
        raise ValueError("it holds tensors that are not plain ones")
    if sum(value.numel() * value.element_size() for value in tensors) > 2 * path.stat().st_size:
        raise ValueError("its tensors are larger than the file")


def brief(error: Exception) -> str:
    """An error's message on one line, not too long."""
    text = str(error)
    text = text.partition("WeightsUnpickler error:")[2] or text  # before it torch advises to switch safety off
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} …"


# ---- TorchScript archives, read as data -------------------------------------------------------------------------

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
