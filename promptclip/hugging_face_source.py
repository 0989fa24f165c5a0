"""CLIPs in the form of Hugging Face's transformers: "hf:USER/NAME" of the hub, or "hf:FOLDER".

A folder holds config.json, the weights (model.safetensors, or pytorch_model.bin), and preprocessor_config.json where
images are prepared otherwise than CLIP's. The package transformers is not needed; the names of tensors are mapped.
"""

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from clip.model import CLIP
from torch import Tensor

from promptclip.geometry import EPS, Geometry, assemble
from promptclip.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing
from promptclip.source import Source, check_activation, described_by
from promptclip.weights_file import read_state

CONFIG, IMAGES, WEIGHTS = "config.json", "preprocessor_config.json", ("model.safetensors", "pytorch_model.bin")
ACTIVATIONS = {"quick_gelu": "quickgelu", "gelu": "gelu"}
INTERPOLATIONS = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # as Pillow numbers them
VOCABULARY = 49408
TEXT = {"hidden_size": 512, "num_attention_heads": 8, "max_position_embeddings": 77, "vocab_size": VOCABULARY}
VISION = {"hidden_size": 768, "num_attention_heads": 12, "image_size": 224}
"""What a config.json that leaves these out means."""

OUTSIDE = {
    "logit_scale": "logit_scale",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "text_projection.weight": "text_projection",  # transposed
    "visual_projection.weight": "visual.proj",  # transposed
}
NORMS = {
    "text_model.final_layer_norm": "ln_final",
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
}
IN_BLOCK = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
IN_BLOCK |= {"self_attn.out_proj": "attn.out_proj"}
BLOCK = re.compile(r"(text|vision)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")


def find(name: str, activation: str = "") -> Source:
    """What stands behind "hf:".

    Raises:
        ValueError: no such folder, or it holds no CLIP, or one that the towers do not run.
        ModuleNotFoundError: a name of the hub, and huggingface_hub is not installed.
        ConnectionError: the hub cannot be reached.
    """
    folder = Path(name).expanduser()
    local = folder.is_dir()
    config_path = folder / CONFIG if local else _fetch(name, (CONFIG,))
    config = _json(config_path)
    if config is None:
        raise ValueError(f"{folder} is no folder of a CLIP: it has no {CONFIG}.")
    images = _json(folder / IMAGES) if local else _json(_fetch(name, (IMAGES,), optional=True))
    with described_by(f"hf:{name}"):
        geometry, made = _geometry(config, f"hf:{name}"), _preprocessing(config, images or {}, f"hf:{name}")
    check_activation(activation, geometry.activation, f"hf:{name}")
    return Source(partial(read, name, geometry), made, f"Hugging Face's {name}")


def read(name: str, geometry: Geometry) -> CLIP:
    """The CLIP itself. Raises ValueError or ConnectionError."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        there = [folder / file for file in WEIGHTS if (folder / file).is_file()]
        if not there:
            raise ValueError(f"{folder} holds no weights: neither {' nor '.join(WEIGHTS)}.")
        path = there[0]
    else:
        path = _fetch(name, WEIGHTS)
    return assemble(renamed(read_state(path), path), geometry, str(path))


def renamed(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Tensors under the names of `clip.model.CLIP`.

    Raises:
        ValueError: there is one that no CLIP has; a block lacks one of queries, keys and values.
    """
    found: dict[str, Tensor] = {}
    attention: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        module, _, kind = key.rpartition(".")
        match = BLOCK.fullmatch(key)
        if key.endswith("position_ids"):
            continue  # 0, 1, 2, …
        if key in OUTSIDE:
            found[OUTSIDE[key]] = value.t() if key.endswith("projection.weight") else value
        elif module in NORMS:
            found[f"{NORMS[module]}.{kind}"] = value
        elif match and match[3] in IN_BLOCK:
            found[f"{_block(match)}.{IN_BLOCK[match[3]]}.{kind}"] = value
        elif match and match[3] in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
            attention.setdefault(f"{_block(match)}.attn.in_proj_{kind}", {})[match[3][10]] = value
        else:
            raise ValueError(f"{path} holds {key!r:.80}, which no CLIP of transformers has.")
    for key, parts in attention.items():
        if len(parts) < 3:
            raise ValueError(f"{path} lacks some of queries, keys and values for {key}.")
        found[key] = torch.cat([parts[one] for one in "qkv"])
    return found


def _block(match: re.Match) -> str:
    return f"{'visual.' if match[1] == 'vision' else ''}transformer.resblocks.{match[2]}"


def _geometry(config: Mapping[str, Any], name: str) -> Geometry:
    if config.get("model_type", "clip") != "clip" or not {"text_config", "vision_config"} & config.keys():
        raise ValueError(
            f"{name} cannot be prompted: it is a {config.get('model_type', 'model without two towers')!r:.60}, and "
            "only CLIP itself is known in this form (SigLIP, ALIGN and others have other towers)."
        )
    text, vision = (config.get(f"{one}_config") or {} for one in ("text", "vision"))
    kinds = {one.get("hidden_act", "quick_gelu") for one in (text, vision)}
    if len(kinds) != 1 or not kinds <= ACTIVATIONS.keys():
        raise ValueError(
            f"{name} cannot be prompted: the activation of its towers is {' and '.join(sorted(kinds))}; known is one "
            f"of {', '.join(ACTIVATIONS)} for both."
        )
    if text.get("vocab_size", VOCABULARY) != VOCABULARY:
        raise ValueError(f"{name} cannot be prompted: its texts are cut into tokens by another tokenizer than CLIP's.")
    return Geometry(
        activation=ACTIVATIONS[kinds.pop()],
        text_heads=text.get("num_attention_heads", TEXT["num_attention_heads"]),
        vision_heads=vision.get("num_attention_heads", VISION["num_attention_heads"]),
        text_eps=text.get("layer_norm_eps", EPS),
        vision_eps=vision.get("layer_norm_eps", EPS),
    )


def _preprocessing(config: Mapping[str, Any], images: Mapping[str, Any], name: str) -> Preprocessing:
    side = (config.get("vision_config") or {}).get("image_size", VISION["image_size"])
    size = images.get("size", side)
    squash = isinstance(size, Mapping) and "shortest_edge" not in size
    number = images.get("resample", 3)
    if number not in INTERPOLATIONS:
        raise ValueError(f"{name} resizes its images in a way that is not known here (resample {number}).")
    mean, std = images.get("image_mean", CLIP_MEAN), images.get("image_std", CLIP_STD)
    means = (tuple(map(float, mean)), tuple(map(float, std)))
    return Preprocessing(side, INTERPOLATIONS[number], *means, "squash" if squash else "shortest")


def _json(path: Path | None) -> dict[str, Any] | None:
    """The content of a file; None where there is none."""
    if path is None or not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size < 10_000_000 else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged (no JSON); get the folder again.")
    return content


def _fetch(name: str, files: tuple[str, ...], optional: bool = False) -> Any:
    """The first of `files` that "user/name" of the hub has, in the hub's cache; None if it has none and may."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ValueError(f"hf:{name} is neither a folder nor of the form user/name, which a hub's names have.")
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ImportError as error:
        raise ModuleNotFoundError(
            f"hf:{name} is reached with the package huggingface_hub: pip install 'restore-prompts[hub]'."
        ) from error
    for file in files:
        try:
            return Path(hub.hf_hub_download(name, file))
        except errors.LocalEntryNotFoundError as error:
            if not optional:
                raise ConnectionError(
                    f"hf:{name} is no folder, and the hub cannot be reached, nor does its cache hold {file}: download "
                    "the files where there is a network, and name their folder."
                ) from error
            return None
        except errors.EntryNotFoundError:
            continue
        except errors.RepositoryNotFoundError as error:
            raise ValueError(f"There is neither a folder {name} nor a model of that name on the hub.") from error
        except Exception as error:  # the client's, of which there are several
            raise ConnectionError(f"hf:{name} could not be fetched: {str(error).splitlines()[0]:.200}.") from error
    if optional:
        return None
    raise ValueError(f"hf:{name} holds none of {', '.join(files)}.")
