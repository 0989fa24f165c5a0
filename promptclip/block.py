"""One residual attention block of CLIP, taken apart so that the towers can share its pieces.

Weights stay in OpenAI's `clip.model.ResidualAttentionBlock`; only the order of work is ours.
"""

import torch
from clip.model import ResidualAttentionBlock
from torch import Tensor
from torch.nn import functional as F

from promptclip.frozen import mlp


def project(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """Queries, keys and values of `x` (..., N, width), as one (..., N, 3, H, width / H)."""
    attn = block.attn
    qkv = F.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
    return qkv.unflatten(-1, (3, attn.num_heads, -1))


def project_learned(block: ResidualAttentionBlock, x: Tensor, learned: Tensor) -> Tensor:
    """`project` of x (G, N, width) of which only the places `learned` (n,) depend on anything that learns."""
    with torch.no_grad():
        constant = project(block, x)
    return constant.index_copy(1, learned, project(block, x.index_select(1, learned)).to(constant.dtype))


def project_some(block: ResidualAttentionBlock, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Queries at the places `rows` (M,) alone, (G, M, H, d), and keys and values of all x, (G, N, 2, H, d)."""
    attn, width = block.attn, x.shape[-1]
    x = block.ln_1(x)
    q = F.linear(x.index_select(1, rows), attn.in_proj_weight[:width], attn.in_proj_bias[:width])
    kv = F.linear(x, attn.in_proj_weight[width:], attn.in_proj_bias[width:])
    return q.unflatten(-1, (attn.num_heads, -1)), kv.unflatten(-1, (2, attn.num_heads, -1))


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention of q (B, N, H, d) over k, v (B, M, H, d); `mask` (B or 1, 1, N, M) is True where allowed.

    Returns (B, N, H * d). Four dimensions, because more would not reach the fused kernels.
    """
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def finish(block: ResidualAttentionBlock, x: Tensor, attended: Tensor) -> Tensor:
    """The block's output at tokens whose input is `x` and whose attention result is `attended`, both (..., width)."""
    x = x + block.attn.out_proj(attended)
    return x + mlp(block, block.ln_2(x))
