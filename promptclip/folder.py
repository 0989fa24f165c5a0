"""The folder of a trained classifier: config.json, model.safetensors and README.md (docs/predict.md).

Nothing in a folder is executed. What it says of itself is compared with what lies in it before a tensor is read, and
sizes that the settings name are taken up only once the file's header has them too.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from promptclip.cli import VERSION
from promptclip.common.files import write_atomically
from promptclip.parts import Part, kind, names_of_training
from promptclip.preprocessing import INTERPOLATIONS, RESIZES, Preprocessing

FORMAT_VERSION = 1
IN_BACKBONE = {"name": "backbone", "sha256": "sha256", "activation": "activation"}
"""Where config.json's section `backbone` says what of a description."""
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
PLACES = ("prompts", "changes", "corrections", "head", "class_texts")
"""Where a part stands in a `PromptLearner`, and what its tensors' names begin with."""

LARGEST = 2_000_000_000
"""Bytes of tensors; a cache of ImageNet's features has some hundred millions."""
LARGEST_CONFIG = 20_000_000
"""Bytes of config.json; one with ImageNet's classes has some ten thousand."""
LARGEST_NUMBER = 1_000_000
"""Of a setting."""
MODULES = 20_000
"""Modules and parameters that a folder's parts may consist of."""
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
DTYPES |= {"I64": torch.int64, "I32": torch.int32, "BOOL": torch.bool, "U8": torch.uint8}


@dataclass(frozen=True)
class Description:
    """All that a folder says besides its parts.

    Attributes:
        method: registered name of the method that trained it.
        backbone: name of the CLIP it stands on, as `load_clip` takes it.
        sha256: of that CLIP's weights (`promptclip.backbone.weights_sha256`).
        activation: of its blocks, which a file of weights may not say.
        preprocessing: what is done to an image.
        classes: the class names, in the order of the probabilities.
        trained_on: the class names that what is learned belongs to; () where it belongs to none.
        new_classes: why other class names cannot be given; "" where they can.
        options: the method's, as they were in training.
        inference: which of several inferences is used, "" where there is one.
        training: record of the training: dataset, shots, seed, epochs, accuracy (in %), commit, as far as known.
    """

    method: str
    backbone: str
    sha256: str
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    trained_on: tuple[str, ...] = ()
    new_classes: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    inference: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    activation: str = "quickgelu"


# ---- writing -------------------------------------------------------------------------------------------------------


def write(folder: Path, description: Description, parts: dict[str, Part], card: str) -> None:
    """Write a folder; config.json comes last, so that a folder which has it is whole.

    Args:
        folder: made if it is not there.
        description: what it says of itself.
        parts: by their place, one of PLACES.
        card: text of README.md.

    Raises:
        OSError: it cannot be written.
    """
    (folder / CONFIG).unlink(missing_ok=True)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in _kept(parts).items()}
    write_atomically(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    write_atomically(folder / CARD, card)
    write_atomically(folder / CONFIG, json.dumps(as_json(description, parts), indent=2) + "\n")


def as_json(description: Description, parts: dict[str, Part]) -> dict[str, Any]:
    """What config.json holds."""
    said = asdict(description)
    backbone = {key: said.pop(place) for key, place in IN_BACKBONE.items()}
    reason = said.pop("new_classes")
    texts = parts.get("class_texts", parts["prompts"])
    templates = texts.settings().get("templates") or [texts.settings().get("template") or ""]
    return {
        "format_version": FORMAT_VERSION,
        "promptclip": VERSION,
        "method": said.pop("method"),
        "backbone": backbone,
        "preprocessing": said.pop("preprocessing"),
        "classes": said.pop("classes"),
        "templates": [one for one in templates if one],
        "new_classes": {"possible": not reason, "reason": reason},
        **said,
        "parts": {place: {"kind": part.kind, "settings": part.settings()} for place, part in parts.items()},
    }


def _kept(parts: dict[str, Part]) -> dict[str, Tensor]:
    """What of the parts' state a file holds: all that is not for training alone."""
    kept: dict[str, Tensor] = {}
    for place, part in parts.items():
        left_out = names_of_training(part)
        kept |= {f"{place}.{name}": value for name, value in part.state_dict().items() if name not in left_out}
    return kept


# ---- reading -------------------------------------------------------------------------------------------------------


def read(folder: Path) -> tuple[Description, dict[str, Part]]:
    """What a folder says, and its parts by their place, with their tensors, on the CPU.

    Raises:
        FileNotFoundError: it lacks one of its files.
        ValueError: it is of another format version, damaged, too large, or its files do not fit together.
    """
    config = read_config(folder)
    description = _description(config, folder / CONFIG)
    parts = _empty_parts(_entry(config, "parts", dict, folder / CONFIG), folder / CONFIG)
    _fill(parts, folder / WEIGHTS)
    return description, parts


def describe(folder: Path) -> Description:
    """What a folder says of itself, without its parts. Raises as `read`."""
    return _description(read_config(folder), folder / CONFIG)


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json, of this format version."""
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no folder of a trained classifier: it has no {CONFIG}.")
    if path.stat().st_size > LARGEST_CONFIG:
        raise ValueError(f"{path} is larger than {LARGEST_CONFIG:,} bytes, which no classifier's is.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged (no JSON); get the folder again.") from error
    version = config.get("format_version") if isinstance(config, dict) else None
    if isinstance(version, bool) or not isinstance(version, int):
        raise ValueError(f"{path} says no format_version, so it is no trained classifier of this project.")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path} is of format version {version}, and promptclip {VERSION} reads {FORMAT_VERSION}; update it."
        )
    known = {"format_version", "promptclip", "new_classes", "templates", "parts"} | {
        one.name for one in fields(Description)
    }
    if odd := sorted(config.keys() - (known - {"sha256", "activation"})):
        raise ValueError(f"{path} has the entry {odd[0]!r:.80}, which format version {version} does not know.")
    return config


def _description(config: dict[str, Any], path: Path) -> Description:
    backbone = _entry(config, "backbone", dict, path)
    new_classes = _entry(config, "new_classes", dict, path)
    prepared = _entry(config, "preprocessing", dict, path)
    mean, std = (tuple(_entry(prepared, name, list, path)) for name in ("mean", "std"))
    size, interpolation = _entry(prepared, "size", int, path), _entry(prepared, "interpolation", str, path)
    prepared, backbone = {"resize": "shortest"} | prepared, {"activation": "quickgelu"} | backbone  # of earlier folders
    resize = _entry(prepared, "resize", str, path)
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"{path} names the interpolation {interpolation!r:.40}, none of {', '.join(INTERPOLATIONS)}.")
    if resize not in RESIZES:
        raise ValueError(f"{path} names the resizing {resize!r:.40}, none of {', '.join(RESIZES)}.")
    try:
        preprocessing = Preprocessing(size, interpolation, mean, std, resize)
    except ValueError as error:
        raise ValueError(f"{path} names a preprocessing that cannot be: {error}.") from error
    classes, trained_on = (tuple(_names(config, name, path)) for name in ("classes", "trained_on"))
    if not classes:
        raise ValueError(f"{path} names no classes; a classifier has at least one.")
    return Description(
        method=_entry(config, "method", str, path),
        backbone=_entry(backbone, "name", str, path),
        sha256=_entry(backbone, "sha256", str, path),
        preprocessing=preprocessing,
        classes=classes,
        trained_on=trained_on,
        new_classes=_entry(new_classes, "reason", str, path),
        options=_entry(config, "options", dict, path),
        inference=_entry(config, "inference", str, path),
        training=_entry(config, "training", dict, path),
        activation=_entry(backbone, "activation", str, path),
    )


def _entry(node: dict[str, Any], name: str, wanted: type, path: Path) -> Any:
    value = node.get(name)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise ValueError(f"{path} is damaged: its {name!r} is {value!r:.80}, not a {wanted.__name__}.")
    return value


def _names(config: dict[str, Any], name: str, path: Path) -> list[str]:
    names = _entry(config, name, list, path)
    if not all(isinstance(one, str) for one in names):
        raise ValueError(f"{path} is damaged: its {name!r} must be texts.")
    return names


def _empty_parts(said: dict[str, Any], path: Path) -> dict[str, Part]:
    """The parts that config.json names, without memory for their tensors."""
    if not said.keys() <= set(PLACES) or "prompts" not in said or "head" not in said:
        raise ValueError(f"{path} is damaged: its parts are {sorted(said)!r:.200}.")
    parts = {}
    for place, one in said.items():
        settings = _entry(one if isinstance(one, dict) else {}, "settings", dict, path)
        _check_settings(settings, path)
        made = kind(_entry(one, "kind", str, path))
        try:
            with torch.device("meta"), at_most_modules(MODULES):
                parts[place] = made(**settings)
        except Exception as error:  # settings that do not go together make a constructor stumble in many ways
            raise ValueError(f"{path}: the part {place!r} cannot have these settings ({error!s:.200}).") from error
    return parts


def _check_settings(value: Any, path: Path) -> None:
    """Refuse numbers that no part has; a constructor may count up to them."""
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(one, int | float) and not abs(one) <= LARGEST_NUMBER:
            raise ValueError(f"{path} is damaged: a part's setting is {one!r:.40}.")
        _check_settings(one, path)


@contextmanager
def at_most_modules(limit: int) -> Iterator[None]:
    """Have the construction of more than `limit` modules and parameters in this thread fail with a ValueError."""
    left, here = [limit], threading.get_ident()

    def count(*_: Any) -> None:
        if threading.get_ident() == here:
            left[0] -= 1
            if left[0] < 0:
                raise ValueError(f"more than {limit:,} modules and parameters")

    hooks = [register_module_module_registration_hook(count), register_module_parameter_registration_hook(count)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _fill(parts: dict[str, Part], path: Path) -> None:
    """Give the parts their tensors, once names, shapes and types in the file's header are the parts' own."""
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} is no folder of a trained classifier: it has no {WEIGHTS}.")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST:,} bytes, which no classifier's tensors are.")
    wanted = _kept(parts)
    try:
        with safe_open(path, framework="pt") as file:
            header = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            _compare(header, wanted, path)
            tensors = {name: file.get_tensor(name).clone() for name in header}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); get the folder again.") from error
    broken = [name for name, value in tensors.items() if not value.isfinite().all()]
    if broken:
        raise ValueError(f"{path} holds infinite or NaN values in {broken[0]}: its training broke.")
    for place, part in parts.items():
        state = {name: tensors[f"{place}.{name}"] for name in part.state_dict() if f"{place}.{name}" in tensors}
        for name in part.state_dict().keys() - state.keys():  # of training alone; takes no memory
            empty = part.get_parameter(name) if name in dict(part.named_parameters()) else part.get_buffer(name)
            state[name] = torch.zeros((), dtype=empty.dtype).expand(empty.shape)
        part.load_state_dict(state, assign=True)
        left = [name for name, value in (*part.named_parameters(), *part.named_buffers()) if value.is_meta]
        if left:
            raise ValueError(f"The part {part.kind!r} keeps {left[0]} out of its state, so no file can hold it.")


def _compare(header: dict[str, Any], wanted: dict[str, Tensor], path: Path) -> None:
    odd, missing = sorted(header.keys() - wanted.keys()), sorted(wanted.keys() - header.keys())
    if odd or missing:
        said = f"it lacks {missing[0]}" if missing else f"it holds {odd[0]!r:.80}"
        raise ValueError(f"{path} does not fit {CONFIG} beside it: {said}; get the folder again.")
    for name, value in wanted.items():
        shape, dtype = tuple(header[name].get_shape()), DTYPES.get(header[name].get_dtype())
        if (shape, dtype) != (tuple(value.shape), value.dtype):
            raise ValueError(
                f"{path} does not fit {CONFIG} beside it: {name} is {dtype} {shape} and not {value.dtype} "
                f"{tuple(value.shape)}; get the folder again."
            )
