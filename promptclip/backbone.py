"""Load a CLIP by name, from a file, or the embedded one.

Whatever the source, the result is `clip.model.CLIP` in float32 on the CPU, frozen and in eval mode. Files are read as
data (`weights_file`), and activation, heads and preprocessing are those that the weights were trained with: said by the
name, by open_clip's or Hugging Face's configuration, or by whoever names a bare file.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import clip
import torch
from clip.model import CLIP

from promptclip import hugging_face_source, open_clip_source
from promptclip.common.machine import cores
from promptclip.common.names import unknown
from promptclip.geometry import ACTIVATIONS, Geometry, activation_of, assemble, habits, missing
from promptclip.preprocessing import Preprocessing
from promptclip.source import Source, check_activation
from promptclip.weights_file import read_state

EMBEDDED = {"EmojiCLIP": Path(__file__).parent / "weights" / "emojiclip.pt"}
SCHEMES = {"open_clip:": open_clip_source.find, "hf:": hugging_face_source.find}
"""How names of other kinds begin, and what finds them."""
OPENAIS_OWN = ("input_resolution", "context_length", "vocab_size")
"""What OpenAI's archives hold beside weights, and nobody else's."""
OPENCLIPS_WIDTHS = {1280: "ViT-H-14", 1408: "ViT-g-14", 1664: "ViT-bigG-14", 1792: "ViT-e-14"}
"""Vision towers whose heads are not 64 wide, as a state dict does not say."""


class Backbone(NamedTuple):
    """A CLIP that was loaded.

    Attributes:
        model: the CLIP, frozen.
        preprocessing: what is done to an image before its vision tower.
        said: what was taken for it, in one line.
    """

    model: CLIP
    preprocessing: Preprocessing
    said: str


def backbone_names() -> list[str]:
    """Names `load_clip` knows besides file paths, and besides those that begin with one of SCHEMES."""
    return [*clip.available_models(), *EMBEDDED]


def load_clip(name: str, activation: str = "") -> CLIP:
    """Return the frozen CLIP that `name` stands for; see `load_backbone`."""
    return load_backbone(name, activation).model


def load_backbone(name: str, activation: str = "") -> Backbone:
    """Load the CLIP that `name` stands for.

    Args:
        name: a name `clip` knows ("ViT-B/16": downloaded and checked by `clip` itself), an embedded one
            ("EmojiCLIP"), open_clip's ("open_clip:ViT-B-16/laion2b_s34b_b88k"; a file or folder of one's own behind
            the colon, see `open_clip_source`), Hugging Face's ("hf:openai/clip-vit-base-patch16", or a folder), or the
            path of OpenAI's TorchScript archive or of a state dict.
        activation: of the blocks' perceptrons, "quickgelu" or "gelu", for a state dict, which does not say it.

    Raises:
        ValueError: no such name or file, or the file does not hold CLIP's weights, or holds broken ones; the CLIP has
            something that the towers do not run; the activation of a state dict is not given, or that of another source
            is given as another.
        ConnectionError: a named model could not be downloaded.
        ModuleNotFoundError: the name needs a package that is not installed.
    """
    source = find_source(name, activation)
    with torch.random.fork_rng(devices=[]):  # clip draws random weights first; a run's own randomness starts after
        model = source.read()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    broken = [key for key, value in model.state_dict().items() if not _is_finite(value)]
    if broken:  # scores of such weights can be finite all the same, and of no meaning
        raise ValueError(
            f"The weights of {name} hold infinite or NaN values in {broken[0]}; download or copy them again."
        )
    model = model.float().eval()
    preprocessing = source.preprocessing or Preprocessing(model.visual.input_resolution)
    if preprocessing.size != model.visual.input_resolution:
        raise ValueError(
            f"{name} says that its images have {preprocessing.size} pixels, but its weights are for "
            f"{model.visual.input_resolution}; get the file that belongs to that name."
        )
    return Backbone(model, preprocessing, _said(model, preprocessing, source.origin))


def find_source(name: str, activation: str = "") -> Source:
    """What is known of a CLIP without reading its weights. Arguments and errors as for `load_backbone`."""
    if activation and activation not in ACTIVATIONS:
        raise ValueError(unknown("activation (MODEL.BACKBONE.ACTIVATION)", activation, ACTIVATIONS))
    for scheme, find in SCHEMES.items():
        if name.startswith(scheme):
            return find(name.removeprefix(scheme), activation)
    if name in backbone_names():
        check_activation(activation, "quickgelu", name)
        embedded = EMBEDDED.get(name)
        return Source(partial(_named, name) if embedded is None else partial(_from_file, embedded, "quickgelu"))
    path = Path(name)
    if path.is_dir():
        raise ValueError(
            f"The backbone {name} is a folder; name the file of CLIP's weights inside it, or what wrote the folder: "
            f"open_clip:{name} or hf:{name}."
        )
    if not path.is_file():
        raise ValueError(unknown("backbone, nor file,", name, backbone_names()))
    return Source(partial(_from_file, path, activation))


def _is_finite(value: torch.Tensor) -> bool:
    """Whether all entries are; their sum, which is read seven times as fast, says so unless it overflows."""
    return bool(value.sum().isfinite()) or bool(value.isfinite().all())


def weights_digest(model: CLIP) -> str:
    """Eight hex digits that tell one CLIP from another, of its smaller tensors in float32, and of its `habits`."""
    digest = 0
    for _, value in sorted(model.state_dict().items()):
        if value.numel() < 100_000:
            digest = crc32(value.detach().cpu().float().contiguous().numpy().tobytes(), digest)
    if (more := habits(model)) != "":
        digest = crc32(more.encode(), digest)
    return f"{digest:08x}"


def weights_sha256(model: CLIP) -> str:
    """The SHA-256 of a CLIP's weights: of the line "name shape sha256" of each, sorted, its values in float32; then of
    its `habits`, if it has any.

    Unlike `weights_digest`, which stands in checkpoints, it takes in every value, and nobody can make two alike.
    """

    def line(item: tuple[str, torch.Tensor]) -> str:
        name, value = item
        data = value.detach().cpu().float().contiguous().numpy().data
        return f"{name} {tuple(value.shape)} {sha256(data).hexdigest()}\n"

    with ThreadPoolExecutor(cores()) as pool:  # hashing lets other threads run
        text = "".join(pool.map(line, sorted(model.state_dict().items())))
    return sha256((text + habits(model)).encode()).hexdigest()


def _named(name: str) -> CLIP:
    try:
        return clip.load(name, device="cpu", jit=False)[0]
    except (OSError, RuntimeError) as error:
        raise ConnectionError(
            f"The weights of {name} could not be fetched ({error}). Download them where there is a network and "
            f"put the file into ~/.cache/clip, or name the file itself: MODEL.BACKBONE.NAME /path/to/file.pt"
        ) from error


def _from_file(path: Path, activation: str) -> CLIP:
    """The CLIP of an archive of OpenAI's, or of a state dict, whose activation is to be given."""
    state = read_state(path)
    openais = all(key in state for key in OPENAIS_OWN)
    weights = {key: value for key, value in state.items() if key not in OPENAIS_OWN}
    first = weights.get("visual.conv1.weight")
    width = len(first) if isinstance(first, torch.Tensor) and first.dim() == 4 else 0
    if (wide := OPENCLIPS_WIDTHS.get(width)) and not openais:
        raise ValueError(
            f"The heads of {path}'s vision tower, {width} wide, cannot be known from its weights: name the "
            f"architecture, as in MODEL.BACKBONE.NAME open_clip:{wide}/{path}."
        )
    if openais:
        check_activation(activation, "quickgelu", str(path))
    elif not activation and not missing(weights):
        raise ValueError(
            f"{path} does not say which activation its CLIP was trained with, and with another its numbers are wrong "
            "though they look right. Set MODEL.BACKBONE.ACTIVATION quickgelu for weights of OpenAI (ViT-B/16, ViT-L/14 "
            "and what was trained on from them), DFN or MetaCLIP; gelu for those of LAION, DataComp, CommonPool and "
            "most that open_clip trained; or name the architecture, as in "
            f"MODEL.BACKBONE.NAME open_clip:ViT-B-16/{path}."
        )
    return assemble(weights, Geometry(activation or "quickgelu"), str(path))


def _said(model: CLIP, preprocessing: Preprocessing, origin: str) -> str:
    """What was loaded, in one line."""
    kind = activation_of(model)
    width, context = model.ln_final.weight.shape[0], model.context_length
    tower = getattr(model.visual, "transformer", None)
    vision = "ResNet" if tower is None else f"vision {len(tower.resblocks)} blocks of {tower.width}"
    parts = [f"{kind}, {vision}, text {len(model.transformer.resblocks)} blocks of {width}"]
    parts += [f"context length {context}", f"logit scale {model.logit_scale.exp():.1f}", str(preprocessing)]
    return "; ".join([*([origin] if origin else []), *parts])
