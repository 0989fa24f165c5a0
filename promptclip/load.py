"""Load a CLIP by name, from a file, or the embedded one.

Whatever the source, the result is `clip.model.CLIP` in float32 on the CPU, frozen and in eval mode.
"""

import warnings
import zipfile
from difflib import get_close_matches
from pathlib import Path

import clip
import torch
from clip.model import CLIP, build_model

from promptclip.archive import check_zip, is_torchscript, read_torchscript

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
        ValueError: no such name or file, or the file does not hold CLIP's weights.
        ConnectionError: a named model could not be downloaded.
    """
    with torch.random.fork_rng(devices=[]):  # clip draws random weights first; a run's own randomness starts after
        model = _named(name) if name in clip.available_models() else _from_file(_path(name))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.float().eval()


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
    near = get_close_matches(name, backbone_names(), n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise ValueError(f"There is no backbone named {name!r}, nor a file of that name{hint} Known: {backbone_names()}")


def _from_file(path: Path) -> CLIP:
    state = {key: value for key, value in _read_state(path).items() if key not in NOT_WEIGHTS}
    missing = [key for key in NEEDED if not isinstance(state.get(key), torch.Tensor)]
    if missing or not any(str(key).startswith("visual.") for key in state):
        raise ValueError(
            f"{path} does not hold CLIP's weights: it lacks {missing or 'the visual tower'}. Expected is OpenAI's "
            f"TorchScript archive or the state dict of clip.model.CLIP."
        )
    try:
        with (
            torch.device("meta"),
            warnings.catch_warnings(),
        ):  # sizes that do not fit are found before they are allocated
            warnings.simplefilter("ignore")
            build_model(dict(state))
        model = build_model(dict(state)).float()  # build_model rounds to half precision, so load the values once more
        model.load_state_dict(state)
    except Exception as error:  # build_model derives the sizes from whatever the file holds
        raise ValueError(f"{path} looks like CLIP's weights, but they do not fit together: {_brief(error)}") from error
    return model


def _read_state(path: Path) -> dict:
    with path.open("rb"):
        pass  # a file that may not be read is an OSError of its own; whatever fails from here on is the content
    try:
        if zipfile.is_zipfile(path):
            check_zip(path)
        if is_torchscript(path):
            state = read_torchscript(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state) if isinstance(state, dict) else {}
        state = state if isinstance(state, dict) else {}
        _check_extent(state, path)
    except Exception as error:  # a damaged archive makes its readers stumble in many ways
        raise ValueError(
            f"{path} cannot be read as CLIP's weights ({_brief(error)}); download or copy it again."
        ) from error
    return state


def _check_extent(state: dict, path: Path) -> None:
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
