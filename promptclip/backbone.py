"""Load a CLIP by name, from a file, or the embedded one.

Whatever the source, the result is `clip.model.CLIP` in float32 on the CPU, frozen and in eval mode. OpenAI's
TorchScript archives are read as data, the weights in them and none of their code: torch.jit.load compiles what an
archive brings along. Here only data.pkl is read, by an unpickler that knows tensors and nothing else, and the tensors'
bytes.
"""

import math
import pickle
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

import clip
import torch
from clip.model import CLIP, build_model

from promptclip.common.machine import cores
from promptclip.common.names import unknown
from promptclip.common.unpickling import PlainUnpickler

EMBEDDED = {"EmojiCLIP": Path(__file__).parent / "weights" / "emojiclip.pt"}
NEEDED = ("positional_embedding", "text_projection", "logit_scale", "token_embedding.weight", "ln_final.weight")
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")


def backbone_names() -> list[str]:
    """Names `load_clip` knows besides file paths."""
    return [*clip.available_models(), *EMBEDDED]


def load_clip(name: str) -> CLIP:
    """Return the frozen CLIP that `name` stands for.

    Args:
        name: a name `clip` knows ("ViT-B/16": downloaded and checked by `clip` itself), an embedded one
            ("EmojiCLIP"), or the path of OpenAI's TorchScript archive or of a state dict.

    Raises:
        ValueError: no such name or file, or the file does not hold CLIP's weights, or holds broken ones.
        ConnectionError: a named model could not be downloaded.
    """
    with torch.random.fork_rng(devices=[]):  # clip draws random weights first; a run's own randomness starts after
        model = _named(name) if name in clip.available_models() else _from_file(_path(name))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    broken = [key for key, value in model.state_dict().items() if not _is_finite(value)]
    if broken:  # scores of such weights can be finite all the same, and of no meaning
        raise ValueError(
            f"The weights of {name} hold infinite or NaN values in {broken[0]}; download or copy them again."
        )
    return model.float().eval()


def _is_finite(value: torch.Tensor) -> bool:
    """Whether all entries are; their sum, which is read seven times as fast, says so unless it overflows."""
    return bool(value.sum().isfinite()) or bool(value.isfinite().all())


def weights_digest(model: CLIP) -> str:
    """Eight hex digits that tell one CLIP's weights from another's, of its smaller tensors and in float32."""
    digest = 0
    for _, value in sorted(model.state_dict().items()):
        if value.numel() < 100_000:
            digest = crc32(value.detach().cpu().float().contiguous().numpy().tobytes(), digest)
    return f"{digest:08x}"


def weights_sha256(model: CLIP) -> str:
    """The SHA-256 of a CLIP's weights: of the line "name shape sha256" of each, sorted, its values in float32.

    Unlike `weights_digest`, which stands in checkpoints, it takes in every value, and nobody can make two alike.
    """

    def line(item: tuple[str, torch.Tensor]) -> str:
        name, value = item
        data = value.detach().cpu().float().contiguous().numpy().data
        return f"{name} {tuple(value.shape)} {sha256(data).hexdigest()}\n"

    with ThreadPoolExecutor(cores()) as pool:  # hashing lets other threads run
        return sha256("".join(pool.map(line, sorted(model.state_dict().items()))).encode()).hexdigest()


def _named(name: str) -> CLIP:
    try:
        return clip.load(name, device="cpu", jit=False)[0]
    except (OSError, RuntimeError) as error:
        raise ConnectionError(
            f"The weights of {name} could not be fetched ({error}). Download them where there is a network and "
            f"put the file into ~/.cache/clip, or name the file itself: MODEL.BACKBONE.NAME /path/to/file.pt"
        ) from error


def _path(name: str) -> Path:
    path = EMBEDDED.get(name, Path(name))
    if path.is_file():
        return path
    if path.is_dir():
        raise ValueError(f"The backbone {name} is a folder; name the file of CLIP's weights inside it.")
    raise ValueError(unknown("backbone, nor file,", name, backbone_names()))


def _from_file(path: Path) -> CLIP:
    state = {key: value for key, value in _read_state(path).items() if key not in NOT_WEIGHTS}
    missing = [key for key in NEEDED if not isinstance(state.get(key), torch.Tensor)]
    if missing or not any(str(key).startswith("visual.") for key in state):
        raise ValueError(
            f"{path} does not hold CLIP's weights: it lacks {missing or 'the visual tower'}. Expected is OpenAI's "
            f"TorchScript archive or the state dict of clip.model.CLIP."
        )
    try:
        # sizes that do not fit are found before anything is allocated, and no initial values are drawn
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = build_model(dict(state)).float()
        # copied, so that nothing hangs on the file, which is mapped into memory
        kinds = {key: torch.float32 if value.is_floating_point() else value.dtype for key, value in state.items()}
        values = {key: value.to(kinds[key], copy=True).contiguous() for key, value in state.items()}
        model.load_state_dict(values, assign=True)
        mask = model.build_attention_mask()  # no part of the state
        for block in model.transformer.resblocks:
            block.attn_mask = mask
    except Exception as error:  # build_model derives the sizes from whatever the file holds
        raise ValueError(f"{path} looks like CLIP's weights, but they do not fit together: {_brief(error)}") from error
    return model


def _read_state(path: Path) -> dict:
    with path.open("rb"):
        pass  # a file that may not be read is an OSError of its own; whatever fails from here on is the content
    try:
        if zipfile.is_zipfile(path):
            check_zip(path)
        state: Any
        if is_torchscript(path):
            state = read_torchscript(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        state = state.get("state_dict", state) if isinstance(state, dict) else {}
        state = state if isinstance(state, dict) else {}
        check_extent(state, path)
    except Exception as error:  # a damaged archive makes its readers stumble in many ways
        raise ValueError(
            f"{path} cannot be read as CLIP's weights ({_brief(error)}); download or copy it again."
        ) from error
    return state


def check_extent(state: dict, path: Path) -> None:
    """Refuse tensors that repeat the same bytes so often that they stand for more than the file holds."""
    tensors = [value for value in state.values() if isinstance(value, torch.Tensor)]
    if any(value.layout != torch.strided or value.device.type != "cpu" for value in tensors):
        raise ValueError("it holds tensors that are not plain ones")
    if sum(value.numel() * value.element_size() for value in tensors) > 2 * path.stat().st_size:
        raise ValueError("its tensors are larger than the file")


def _brief(error: Exception) -> str:
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
