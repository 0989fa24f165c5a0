"""A residual attention block of CLIP in training: its own weights, batch first, fused attention."""

from torch import Tensor, nn
from torch.nn import functional as F


def through(block: nn.Module, x: Tensor, causal: bool = False) -> Tensor:
    """x (B, N, W) through one of OpenAI's `ResidualAttentionBlock`; with `causal`, no token sees a later one."""
    layer, normed = block.attn, block.ln_1(x)
    projected = F.linear(normed, layer.in_proj_weight, layer.in_proj_bias)
    q, k, v = projected.unflatten(-1, (3, layer.num_heads, -1)).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    x = x + layer.out_proj(attended.transpose(1, 2).flatten(2))
    return x + block.mlp(block.ln_2(x))
