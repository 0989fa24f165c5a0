"""EmojiCLIP's two towers in training: OpenAI's own modules, with starts that need few pictures and few captions, fused
attention, and only what a batch needs: some of the patches, the tokens up to the last end token."""

import math

import torch
from clip.model import CLIP, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

LAYERS, DIMENSIONS = 6, 128
SIZE, PATCH = 64, 8  # of a picture, in pixels
TEXT_WIDTH, CONTEXT, VOCABULARY = 128, 77, 49408  # the last two are CLIP's


def run_block(block: nn.Module, x: Tensor, causal: bool = False) -> Tensor:
    """x (B, N, W) through one of OpenAI's `ResidualAttentionBlock`; with `causal`, no token sees a later one."""
    layer, normed = block.attn, block.ln_1(x)
    projected = F.linear(normed, layer.in_proj_weight, layer.in_proj_bias)
    q, k, v = projected.unflatten(-1, (3, layer.num_heads, -1)).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    x = x + layer.out_proj(attended.transpose(1, 2).flatten(2))
    return x + block.mlp(block.ln_2(x))


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


def encode_images(
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
        x = run_block(block, x)
    return visual.ln_post(x[:, 0]) @ visual.proj


class TextTower(nn.Module):
    """CLIP's text tower over the tokens that occur in captions; the others keep the vectors they start with.

    `model` is the CLIP whose text tower it is, `used` (T,) the tokens that occur, in rising order.
    """

    def __init__(self, model: CLIP, used: Tensor):
        super().__init__()
        self.transformer, self.ln_final = model.transformer, model.ln_final
        self.positional_embedding, self.text_projection = model.positional_embedding, model.text_projection
        self.register_buffer("used", used)
        self.table = nn.Parameter(model.token_embedding.weight.detach()[used].clone())

    def forward(self, tokens: Tensor) -> Tensor:
        """Normalised features (B, D) of tokens (B, 77); what follows the last end token of the batch is left out."""
        ends = tokens.argmax(1)
        tokens = tokens[:, : int(ends.max()) + 1].contiguous()
        x = self.table[torch.searchsorted(self.used, tokens)] + self.positional_embedding[: tokens.shape[1]]
        for block in self.transformer.resblocks:
            x = run_block(block, x, causal=True)
        x = self.ln_final(x[torch.arange(len(x), device=x.device), ends]) @ self.text_projection
        return F.normalize(x, dim=-1)


def new_clip(words: Tensor, vision_width: int) -> CLIP:
    """OpenAI's model with its own start, token vectors from `words` (vocabulary, n) and wavelike positions."""
    vision, text = (SIZE, LAYERS, vision_width, PATCH), (CONTEXT, VOCABULARY, TEXT_WIDTH, TEXT_WIDTH // 64, LAYERS)
    model = CLIP(DIMENSIONS, *vision, *text).float()
    with torch.no_grad():
        turn = torch.linalg.qr(torch.randn(TEXT_WIDTH, words.shape[1])).Q.T  # (n, width), orthonormal rows
        noise = 0.1 * torch.randn(VOCABULARY, TEXT_WIDTH)
        model.token_embedding.weight.copy_(0.1 * (words.float() @ turn + noise))
        places = torch.arange(CONTEXT)[:, None] * torch.exp(torch.linspace(0, -math.log(100), TEXT_WIDTH // 2))
        model.positional_embedding.copy_(0.05 * torch.cat([places.sin(), places.cos()], 1))
    return model


def copy_tokens(text: TextTower, model: CLIP) -> None:
    """Put the token vectors that `text` has learnt where `model` keeps those of the whole vocabulary."""
    with torch.no_grad():
        model.token_embedding.weight[text.used] = text.table
