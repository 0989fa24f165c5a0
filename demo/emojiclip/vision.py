"""EmojiCLIP's vision tower: OpenAI's own, with a start that few pictures need, and part of the patches at a time."""

import math

import torch
from blocks import through
from clip.model import VisionTransformer
from torch import Tensor, nn


def build_vision(width: int, layers: int, patch: int, size: int, dimensions: int, patches: Tensor) -> VisionTransformer:
    """A vision tower whose start is that of a picture reader rather than noise.

    Positions are the 2-D sines and cosines of their place; the patch embedding is the principal components of `patches`
    (N, 3 * patch * patch); attention starts near "look at what is near you" and gives back a little of what it took
    (mimetic initialisation, Trockman and Kolter, ICML 2023).
    """
    visual = VisionTransformer(size, patch, width, layers, width // 64, dimensions)
    with torch.no_grad():
        directions = torch.linalg.svd(patches - patches.mean(0), full_matrices=False).Vh[:width]
        spread = (patches @ directions.T).std(0).clamp_min(1e-3)
        visual.conv1.weight.copy_((directions / spread.sqrt()[:, None]).view(-1, 3, patch, patch))
        visual.positional_embedding.copy_(grid_positions(width, size // patch))
        visual.class_embedding.normal_(std=0.02)
        visual.proj.normal_(std=width**-0.5)
        for block in visual.transformer.resblocks:
            mimetic(block.attn, width)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=(2 * layers) ** -0.5 * (4 * width) ** -0.5)
            nn.init.zeros_(block.mlp.c_fc.bias)
            nn.init.zeros_(block.mlp.c_proj.bias)
    return visual


def mimetic(attention: nn.MultiheadAttention, width: int) -> None:
    """Queries and keys whose product is near the identity, values and output whose product is near minus it."""
    head = width // attention.num_heads
    for number in range(attention.num_heads):
        rows = slice(number * head, (number + 1) * head)
        target = 0.7 * torch.randn(width, width) / math.sqrt(width) + 0.7 * torch.eye(width)
        u, s, vh = torch.linalg.svd(target)
        root = s[:head].sqrt()
        attention.in_proj_weight[:width][rows] = (u[:, :head] * root).T
        attention.in_proj_weight[width : 2 * width][rows] = root[:, None] * vh[:head]
    target = 0.4 * torch.randn(width, width) / math.sqrt(width) - 0.4 * torch.eye(width)
    u, s, vh = torch.linalg.svd(target)
    attention.in_proj_weight[2 * width :] = s.sqrt()[:, None] * vh
    attention.out_proj.weight.copy_(u * s.sqrt())
    nn.init.zeros_(attention.in_proj_bias)
    nn.init.zeros_(attention.out_proj.bias)


def grid_positions(width: int, side: int) -> Tensor:
    """(1 + side * side, width): nothing for the class token, then sines and cosines of each patch's row and column."""
    places = torch.arange(side) / (side - 1) * math.pi
    waves = torch.exp(torch.linspace(0, math.log(8), width // 4))
    angles = places[:, None] * waves / 2
    one = torch.cat([angles.sin(), angles.cos()], 1)  # (side, width / 2)
    grid = torch.cat([one[:, None].expand(-1, side, -1), one[None].expand(side, -1, -1)], -1)
    return torch.cat([torch.zeros(1, width), grid.flatten(0, 1)])


def encode(
    visual: VisionTransformer, images: Tensor, kept: int | None = None, rng: torch.Generator | None = None
) -> Tensor:
    """Features (B, D) of normalised images; with `kept`, from that many patches of each, drawn by `rng`."""
    x = visual.conv1(images).flatten(2).transpose(1, 2) + visual.positional_embedding[1:]
    if kept is not None and kept < x.shape[1]:
        chosen = torch.rand(x.shape[:2], generator=rng, device=rng.device).argsort(1)[:, :kept]
        x = x.gather(1, chosen[..., None].expand(-1, -1, x.shape[2]))
    start = visual.class_embedding + visual.positional_embedding[0]
    x = visual.ln_pre(torch.cat([start.expand(len(x), 1, -1), x], 1))
    for block in visual.transformer.resblocks:
        x = through(block, x)
    return visual.ln_post(x[:, 0]) @ visual.proj
