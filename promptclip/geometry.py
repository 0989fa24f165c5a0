"""From tensors by name to a CLIP: sizes are read from the tensors, and what these do not say is said beside them.

Whoever trained the weights, the result is `clip.model.CLIP`. Where they were trained with another activation, other
heads, another perceptron or without `ln_pre`, its blocks are given those.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass

import torch
from clip.model import CLIP, ModifiedResNet, QuickGELU, ResidualAttentionBlock, Transformer, VisionTransformer
from torch import Tensor, nn

from promptclip.weights_file import brief

NEEDED = ("positional_embedding", "text_projection", "logit_scale", "token_embedding.weight", "ln_final.weight")
ACTIVATIONS: dict[str, type[nn.Module]] = {"quickgelu": QuickGELU, "gelu": nn.GELU}
HEAD_WIDTH, EPS = 64, 1e-5  # OpenAI's, in all of their CLIPs
LONGEST = 8192  # context length: clip keeps a mask of its square
LAYER_SCALE = {
    "ls_1.gamma": ("attn.out_proj.weight", "attn.out_proj.bias"),
    "ls_2.gamma": ("mlp.c_proj.weight", "mlp.c_proj.bias"),
}


@dataclass(frozen=True)
class Geometry:
    """What a CLIP's weights do not say of themselves.

    Attributes:
        activation: of the blocks' perceptrons, one of ACTIVATIONS.
        text_heads, vision_heads: of attention; None: one for 64 of the width, as in OpenAI's.
        text_eps, vision_eps: of the layer norms.
        ln_pre: whether the vision transformer has a norm before its first block.

    Raises:
        ValueError: heads or eps that no tower can have.
    """

    activation: str = "quickgelu"
    text_heads: int | None = None
    vision_heads: int | None = None
    text_eps: float = EPS
    vision_eps: float = EPS
    ln_pre: bool = True

    def __post_init__(self) -> None:
        for heads in (self.text_heads, self.vision_heads):
            if heads is not None and (type(heads) is not int or heads < 1):
                raise ValueError(f"a tower with {heads!r:.40} heads")
        for eps in (self.text_eps, self.vision_eps):
            if not isinstance(eps, int | float) or not 0 < eps < 1:
                raise ValueError(f"norms with eps {eps!r:.40}")


def assemble(state: dict[str, Tensor], geometry: Geometry, source: str) -> CLIP:
    """The CLIP of these tensors, in float32, which share no memory with them.

    Args:
        state: under the names of `clip.model.CLIP`; blocks may have open_clip's LayerScale (`ls_1.gamma`) besides,
            which is multiplied into the matrices before it.
        geometry: what they do not say.
        source: what errors call them.

    Raises:
        ValueError: tensors are missing, too many, or do not fit together.
    """
    if lacks := missing(state):
        raise ValueError(
            f"{source} does not hold CLIP's weights: it lacks {lacks}. Expected is OpenAI's TorchScript archive or the "
            "state dict of clip.model.CLIP."
        )
    try:
        # sizes that do not fit are found before anything is allocated, and no initial values are drawn
        with torch.device("meta"):
            model = empty(state, geometry).float()
        # copied, so that nothing hangs on the file, which may be mapped into memory
        kinds = {key: torch.float32 if value.is_floating_point() else value.dtype for key, value in state.items()}
        values = {key: value.to(kinds[key], copy=True).contiguous() for key, value in state.items()}
        _fold_layer_scale(values)
        model.load_state_dict(values, assign=True)
        mask = model.build_attention_mask()  # no part of the state
        for block in model.transformer.resblocks:
            block.attn_mask = mask
    except Exception as error:  # sizes come from whatever the file holds
        raise ValueError(f"{source} looks like CLIP's weights, but they do not fit together: {brief(error)}") from error
    return model


def missing(state: dict[str, Tensor]) -> list[str] | str:
    """What tensors by name lack to be a CLIP's; nothing of it is looked at closely."""
    lacks = [key for key in NEEDED if not isinstance(state.get(key), Tensor)]
    return lacks or ("" if any(key.startswith("visual.") for key in state) else "the visual tower")


def empty(state: dict[str, Tensor], geometry: Geometry) -> CLIP:
    """The CLIP that `state` fits into."""
    width, embed_dim = state["text_projection"].shape
    context_length, vocabulary = state["positional_embedding"].shape[0], state["token_embedding.weight"].shape[0]
    if context_length > LONGEST:
        raise ValueError(f"a context length of {context_length:,} is more than {LONGEST:,}")
    heads = _heads(width, geometry.text_heads)
    depth = _depth(state, "transformer.")
    # its vision tower is a small one that is replaced at once: the right one may have other heads than clip gives it
    model = CLIP(embed_dim, 32, 1, HEAD_WIDTH, 32, context_length, vocabulary, width, heads, depth)
    if "visual.proj" in state:
        model.visual = _vision_transformer(state, geometry, embed_dim)
        _adapt(model.visual.transformer, state, "visual.transformer.", geometry.activation)
        _set_eps(model.visual, geometry.vision_eps)
    else:
        model.visual = _resnet(state, embed_dim)
    _adapt(model.transformer, state, "transformer.", geometry.activation)
    for module in (model.transformer, model.ln_final):
        _set_eps(module, geometry.text_eps)
    return model


def _vision_transformer(state: dict[str, Tensor], geometry: Geometry, embed_dim: int) -> VisionTransformer:
    width, _, patch, _ = state["visual.conv1.weight"].shape
    places = state["visual.positional_embedding"].shape[0] - 1
    grid = round(places**0.5)
    if grid**2 != places:
        raise ValueError(f"{places} patches are no square")
    heads, depth = _heads(width, geometry.vision_heads), _depth(state, "visual.transformer.")
    tower = VisionTransformer(patch * grid, patch, width, depth, heads, embed_dim)
    if not geometry.ln_pre:
        tower.ln_pre = nn.Identity()
    return tower


def _resnet(state: dict[str, Tensor], embed_dim: int) -> ModifiedResNet:
    depths = [len({key.split(".")[2] for key in state if key.startswith(f"visual.layer{n}.")}) for n in (1, 2, 3, 4)]
    width = state["visual.layer1.0.conv1.weight"].shape[0]
    grid = round((state["visual.attnpool.positional_embedding"].shape[0] - 1) ** 0.5)
    tower = ModifiedResNet(depths, embed_dim, _heads(32 * width, None), 32 * grid, width)
    tower.input_resolution = 32 * grid
    return tower


def _heads(width: int, heads: int | None) -> int:
    heads = heads or width // HEAD_WIDTH
    if heads < 1 or width % heads:
        raise ValueError(f"a width of {width} cannot be divided among {heads} heads")
    return heads


def _depth(state: dict[str, Tensor], tower: str) -> int:
    found = (re.match(rf"{re.escape(tower)}resblocks\.(\d+)\.", key) for key in state)
    return len({match[1] for match in found if match})


def _adapt(tower: Transformer, state: dict[str, Tensor], name: str, activation: str) -> None:
    """Give a tower's blocks their perceptron's width and activation."""
    for number, block in enumerate(tower.resblocks):
        hidden, width = state[f"{name}resblocks.{number}.mlp.c_fc.weight"].shape
        if hidden != block.mlp.c_fc.out_features or activation != "quickgelu":
            first, second = nn.Linear(width, hidden), nn.Linear(hidden, width)
            parts = {"c_fc": first, "gelu": ACTIVATIONS[activation](), "c_proj": second}
            block.mlp = nn.Sequential(OrderedDict(parts))


def _set_eps(module: nn.Module, eps: float) -> None:
    for one in module.modules():
        if isinstance(one, nn.LayerNorm):
            one.eps = eps


def _fold_layer_scale(values: dict[str, Tensor]) -> None:
    """Multiply every LayerScale into the matrix before it, which is the same function."""
    for key in [key for key in values if key.endswith(tuple(LAYER_SCALE))]:
        scale = values.pop(key)
        block = key.removesuffix(next(end for end in LAYER_SCALE if key.endswith(end)))
        weight, bias = LAYER_SCALE[key.removeprefix(block)]
        values[block + weight] = values[block + weight] * scale[:, None]
        values[block + bias] = values[block + bias] * scale


# ---- what a model's weights do not say, read off it ----------------------------------------------------------------


def activation_of(model: CLIP) -> str:
    """Name of the activation in the towers' blocks."""
    kinds = {type(block.mlp.gelu) for block in _blocks(model)}
    return ", ".join(sorted(name for name, kind in ACTIVATIONS.items() if kind in kinds))


def habits(model: CLIP) -> str:
    """In what, beside its weights, a CLIP differs from OpenAI's; "" in nothing."""
    found: list[str] = []
    for name, tower in (("text", model.transformer), ("vision", getattr(model.visual, "transformer", None))):
        for block in () if tower is None else tower.resblocks:
            width = block.attn.embed_dim
            said = [] if isinstance(block.mlp.gelu, QuickGELU) else [type(block.mlp.gelu).__name__]
            said += [] if block.attn.num_heads == width // HEAD_WIDTH else [f"{block.attn.num_heads} heads"]
            said += [] if block.ln_1.eps == EPS else [f"eps {block.ln_1.eps}"]
            found += [f"{name} {one}" for one in said if f"{name} {one}" not in found]
    return ", ".join(found)


def _blocks(model: CLIP) -> list[ResidualAttentionBlock]:
    return [module for module in model.modules() if isinstance(module, ResidualAttentionBlock)]
