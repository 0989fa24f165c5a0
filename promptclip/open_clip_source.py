"""CLIPs of open_clip (the extra "open_clip"): LAION's, DataComp's, DFN's, MetaCLIP's, and one's own that it trained.

Behind "open_clip:" stands ARCHITECTURE/TAG as open_clip lists them, ARCHITECTURE/FILE with weights of one's own, the
folder of a hub's model (open_clip_config.json and weights), or hf-hub:USER/NAME. From open_clip come the architecture's
configuration, the tags, and the download; its models are not used: the weights are read into `clip.model.CLIP`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from clip.model import CLIP
from torch import Tensor

from promptclip.common.names import unknown
from promptclip.geometry import EPS, Geometry, assemble
from promptclip.preprocessing import CLIP_MEAN, CLIP_STD, INTERPOLATIONS, RESIZES, Preprocessing
from promptclip.source import Source, check_activation, described_by
from promptclip.weights_file import read_state

CONFIG = "open_clip_config.json"
HUB = "hf-hub:"
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth")  # of a folder, the first there is
VOCABULARY = 49408  # of the byte-pair encoder that OpenAI's and open_clip's CLIPs share
FREE = {  # options of an architecture that may have any value: sizes, or of training alone
    "": ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_scale"),
    "vision_cfg": ("layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size", "no_ln_pre")
    + ("ls_init_value", "patch_dropout", "norm_kwargs", "attn_pooler_queries", "attn_pooler_heads"),
    "text_cfg": ("context_length", "width", "heads", "layers", "mlp_ratio", "ls_init_value", "norm_kwargs")
    + ("eos_id", "pad_id", "hf_tokenizer_name", "vocab_size"),
}
ONLY: dict[str, dict[str, tuple]] = {  # options that are run with these values; any other when it is off
    "": {"nonscalar_logit_scale": (True,)},
    "vision_cfg": {
        "pool_type": ("tok",),
        "final_ln_after_pool": (True,),  # the same, of the class token alone
        "output_tokens": (True,),
        "pos_embed_type": ("learnable", "sin_cos_2d"),  # either lies in the weights
        "block_type": ("default", "custom"),
    },
    "text_cfg": {
        "pool_type": ("argmax",),
        "proj_type": ("linear",),
        "output_tokens": (True,),
        "tokenizer_mode": ("clip",),
        "block_type": ("default", "custom"),
    },
}
LICENCES = {  # of weights, as their publishers state them; what is not here is not known
    "openai": "MIT",
    "laion": "MIT",
    "datacomp": "MIT",
    "commonpool": "MIT",
    "dfn": "Apple, for research",
    "metaclip": "CC BY-NC 4.0",
}


class Described(NamedTuple):
    """A CLIP of open_clip.

    Attributes:
        architecture: its configuration.
        geometry: of its towers.
        preprocessing: of its images.
        weights: finds or fetches the file.
        origin: in words.
    """

    architecture: Mapping[str, Any]
    geometry: Geometry
    preprocessing: Preprocessing
    weights: Callable[[], Path]
    origin: str


def package() -> ModuleType:
    """open_clip itself.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        import open_clip
    except ImportError as error:
        raise ModuleNotFoundError(
            f"A backbone open_clip:… needs the package open_clip_torch ({error}): "
            "pip install 'restore-prompts[open-clip]'."
        ) from error
    return open_clip


def find(name: str, activation: str = "") -> Source:
    """What stands behind "open_clip:".

    Raises:
        ValueError: no such architecture, tag, file or folder; or one that the towers do not run, with the reason.
        ModuleNotFoundError: open_clip is not installed.
        ConnectionError: the configuration of a hub's model cannot be fetched.
    """
    folder = Path(name).expanduser()
    with described_by(f"open_clip:{name}"):
        if folder.is_dir():
            described = _of_folder(folder)
        else:
            described = _of_hub(name) if name.startswith(HUB) else _of_architecture(name)
    check_activation(activation, described.geometry.activation, f"open_clip:{name}")
    return Source(partial(read, described), described.preprocessing, described.origin)


def read(described: Described) -> CLIP:
    """The CLIP itself.

    Raises:
        ValueError: the file is damaged, or of another architecture.
        ConnectionError: it cannot be fetched.
    """
    path = described.weights()
    state = dict(read_state(path))
    if "logit_bias" in state:
        raise ValueError(f"{path} has a logit bias, as SigLIP's loss leaves it, which prompted CLIP's logits have not.")
    for name in [name for name in state if name.startswith("text.")]:  # open_clip's CustomTextCLIP
        state[name.removeprefix("text.")] = state.pop(name)
    if isinstance(state.get("text_projection.weight"), Tensor):
        state["text_projection"] = state.pop("text_projection.weight").t()
    if isinstance(scale := state.get("logit_scale"), Tensor):
        state["logit_scale"] = scale.reshape(())
    for key in ("attn_mask", "input_resolution", "context_length", "vocab_size"):  # no weights
        state.pop(key, None)
    _compare(described.architecture, state, path)
    return assemble(state, described.geometry, str(path))


# ---- where it is described -----------------------------------------------------------------------------------------


def _of_architecture(name: str) -> Described:
    open_clip = package()
    architecture, _, weights = name.partition("/")
    config = open_clip.get_model_config(architecture)
    if config is None:
        raise ValueError(unknown("architecture of open_clip", architecture, open_clip.list_models()))
    if reason := why_not(architecture, config):
        raise ValueError(f"open_clip:{name} cannot be prompted: {reason}.")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if not weights:
        raise ValueError(
            f"open_clip:{name} names no weights: give a tag or a file, as in open_clip:{architecture}/"
            f"{next(iter(tags), 'FILE')}; tags of {architecture} are {', '.join(tags) or 'none'}."
        )
    if tag := open_clip.get_pretrained_cfg(architecture, weights):
        # the weights decide: OpenAI's are listed under architectures with GELU, too
        config = dict(config, quick_gelu=bool(tag.get("quick_gelu", False)))
        fetch = partial(_fetched, f"open_clip:{name}", partial(open_clip.download_pretrained, tag))
        return describe(config, tag, fetch, f"open_clip's {architecture}, weights {weights}")
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ValueError(unknown(f"weights of open_clip's {architecture}, nor file,", weights, tags))
    return describe(config, {}, lambda: path, f"open_clip's {architecture}, weights of {path}")


def _of_folder(folder: Path) -> Described:
    config = _read_config(folder / CONFIG)
    files = [path for pattern in WEIGHTS for path in sorted(folder.glob(pattern))]
    if not files:
        raise ValueError(f"{folder} holds no weights beside {CONFIG}: {', '.join(WEIGHTS)}.")
    return _of_config(config, str(folder), lambda: files[0])


def _of_hub(name: str) -> Described:
    from open_clip.factory import download_pretrained_from_hf as download

    repository = name.removeprefix(HUB)
    config = _read_config(_fetched(f"open_clip:{name}", partial(download, repository, filename=CONFIG)))
    return _of_config(config, name, partial(_fetched, f"open_clip:{name}", partial(download, repository)))


def _of_config(config: dict[str, Any], name: str, weights: Callable[[], Path]) -> Described:
    architecture = config["model_cfg"]
    if reason := why_not("", architecture):
        raise ValueError(f"open_clip:{name} cannot be prompted: {reason}.")
    return describe(architecture, config.get("preprocess_cfg", {}), weights, f"open_clip's model {name}")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size < 1_000_000 else None
    except FileNotFoundError as error:
        raise ValueError(f"{path.parent} is no folder of open_clip's: it has no {CONFIG}.") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged (no JSON); get the folder again.") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_cfg"), dict):
        raise ValueError(f"{path} has no model_cfg, so it describes no model of open_clip's.")
    return config


def _fetched(name: str, fetch: Callable[[], Any]) -> Path:
    try:
        return Path(fetch())
    except Exception as error:  # the hub's client, urllib, or open_clip itself
        raise ConnectionError(
            f"{name} could not be fetched ({' '.join(str(error).split())[:300]}). Download the file where there is a "
            "network, and name it: MODEL.BACKBONE.NAME open_clip:ARCHITECTURE/FILE."
        ) from error


def describe(
    config: Mapping[str, Any], images: Mapping[str, Any], weights: Callable[[], Path], origin: str
) -> Described:
    vision, text = config["vision_cfg"], config["text_cfg"]
    resnet = isinstance(vision.get("layers"), list | tuple)
    geometry = Geometry(
        activation="quickgelu" if config.get("quick_gelu", False) else "gelu",
        text_heads=text.get("heads", 8),
        vision_heads=None if resnet else vision.get("width", 768) // vision.get("head_width", 64),
        text_eps=(text.get("norm_kwargs") or {}).get("eps", EPS),
        vision_eps=(vision.get("norm_kwargs") or {}).get("eps", EPS),
        ln_pre=not vision.get("no_ln_pre", False),
    )
    interpolation, resize = images.get("interpolation", "bicubic"), images.get("resize_mode", "shortest")
    if interpolation not in INTERPOLATIONS or resize not in RESIZES:
        raise ValueError(
            f"{origin} resizes its images in a way that is not known here ({interpolation}, {resize}); known are "
            f"{', '.join(INTERPOLATIONS)}, and {', '.join(RESIZES)}."
        )
    mean, std = (tuple(map(float, images.get(*one))) for one in (("mean", CLIP_MEAN), ("std", CLIP_STD)))
    made = Preprocessing(_side(vision), interpolation, mean, std, resize)
    return Described(config, geometry, made, weights, origin)


def _side(vision: Mapping[str, Any]) -> int:
    """Side of the images in pixels."""
    size = vision.get("image_size", 224)
    return size[0] if isinstance(size, list | tuple) else size


# ---- what the towers run -------------------------------------------------------------------------------------------


def why_not(name: str, config: Mapping[str, Any]) -> str:
    """Why an architecture cannot be prompted here, in words; "" if it can.

    Args:
        name: its name, "" where it has none.
        config: its configuration, as open_clip has it.
    """
    vision, text = config.get("vision_cfg"), config.get("text_cfg")
    if not isinstance(vision, Mapping) or not isinstance(text, Mapping) or "embed_dim" not in config:
        return "its configuration describes no two towers"
    timm = str(vision.get("timm_model_name") or "")
    if "multimodal_cfg" in config:
        return "CoCa pools its image tokens by attention and ends its texts in a token of its own"
    if config.get("init_logit_bias") is not None:
        return (
            "SigLIP's texts see each other's later words (no causal mask) and are pooled at their padding, and its "
            "loss is a sigmoid with a bias"
        )
    for part, reason in (
        ("vit_pe", "the Perception Encoder's vision tower has rotary positions and pools by attention"),
        ("eva", "EVA's vision tower is timm's, another transformer (rotary positions, gated perceptrons)"),
        ("mci", "MobileCLIP's vision tower is made of convolutions, in part or throughout"),
        ("vit", "its vision tower is timm's, whose tokens are laid out and pooled in another way"),
    ):
        if part in timm:
            return reason
    if timm:
        return f"its vision tower ({timm}) is made of convolutions or windows, and has no sequence of tokens to prompt"
    if text.get("hf_model_name"):
        return f"its text tower is another model ({text['hf_model_name']})"
    if text.get("no_causal_mask"):
        return "its texts see each other's later words (no causal mask), so that no beginning can be shared"
    if text.get("vocab_size", VOCABULARY) != VOCABULARY or text.get("hf_tokenizer_name"):
        return f"its texts are cut into tokens by another tokenizer ({text.get('hf_tokenizer_name') or 'its own'})"
    size = vision.get("image_size", 224)
    if isinstance(size, list | tuple) and len(set(size)) != 1:
        return f"its images are {size[0]} x {size[1]}, no squares"
    for section, known in ONLY.items():
        for key, value in (config.get(section, {}) if section else config).items():
            if key not in FREE[section] and value and value not in known.get(key, ()):
                where = f"{section}.{key}" if section else key
                return f"its option {where} is {value!r}, which the towers do not run"
    for tower in (vision, text):
        if odd := sorted((tower.get("norm_kwargs") or {}).keys() - {"eps"}):
            return f"its norms have the option {odd[0]}, which the towers do not run"
    return ""


def _compare(config: Mapping[str, Any], state: Mapping[str, Tensor], path: Path) -> None:
    """Raise ValueError if the weights are of another architecture than the name says."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    wanted: dict[str, tuple[int, ...]] = {
        "text_projection": (text.get("width", 512), config["embed_dim"]),
        "positional_embedding": (text.get("context_length", 77), text.get("width", 512)),
        "token_embedding.weight": (text.get("vocab_size", VOCABULARY), text.get("width", 512)),
    }
    if not isinstance(vision.get("layers"), list | tuple):
        width, patch = vision.get("width", 768), vision.get("patch_size", 16)
        patch = patch[0] if isinstance(patch, list | tuple) else patch
        wanted["visual.conv1.weight"] = (width, 3, patch, patch)
        wanted["visual.positional_embedding"] = ((_side(vision) // patch) ** 2 + 1, width)
    for key, shape in wanted.items():
        if isinstance(value := state.get(key), torch.Tensor) and tuple(value.shape) != shape:
            raise ValueError(
                f"{path} is of another architecture than its name says: {key} is {tuple(value.shape)} and not {shape}."
            )


# ---- what there is -------------------------------------------------------------------------------------------------


def listed() -> Iterator[tuple[str, int, str]]:
    """(name, parameters, licence) of each CLIP that open_clip has weights of and that the towers run."""
    open_clip = package()
    configs = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    pairs = open_clip.list_pretrained()
    for architecture, tag in pairs:
        config, same = configs.get(architecture), (architecture.removesuffix("-quickgelu"), tag)
        if same in pairs and same != (architecture, tag):
            continue  # the tag says the activation
        if config is not None and not why_not(architecture, config):
            licence = next((said for start, said in LICENCES.items() if tag.startswith(start)), "not known")
            yield f"open_clip:{architecture}/{tag}", parameters(config), licence


def refused() -> Iterator[tuple[str, str]]:
    """(architecture, reason) of each architecture of open_clip's that the towers do not run."""
    open_clip = package()
    for name in open_clip.list_models():
        if reason := why_not(name, open_clip.get_model_config(name)):
            yield name, reason


def parameters(config: Mapping[str, Any]) -> int:
    """How many numbers the weights of an architecture are; 0 of a ResNet's."""
    vision, text, features = config["vision_cfg"], config["text_cfg"], config["embed_dim"]
    if isinstance(vision.get("layers"), list | tuple):
        return 0
    patch, grid = vision.get("patch_size", 16), _side(vision) // vision.get("patch_size", 16)
    total = 1  # the logit scale
    for tower, wide, places in ((vision, 768, grid**2 + 1), (text, 512, text.get("context_length", 77))):
        width = tower.get("width", wide)
        hidden = int(width * tower.get("mlp_ratio", 4.0))
        block = 4 * width * width + 2 * hidden * width + 9 * width + hidden  # matrices, biases, two norms
        total += (
            tower.get("layers", 12) * block + (places + 2 + features) * width
        )  # positions, the last norm, projection
    width = vision.get("width", 768)
    total += 3 * patch**2 * width + width + 2 * width * (not vision.get("no_ln_pre", False))
    return total + text.get("vocab_size", VOCABULARY) * text.get("width", 512)
