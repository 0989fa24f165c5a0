"""One residual attention block of CLIP, taken apart so that the towers can share its pieces.

Weights stay in OpenAI's `clip.model.ResidualAttentionBlock`; only the order of work is ours.
"""

from clip.model import ResidualAttentionBlock
from torch import Tensor
from torch.nn import functional as F


def heads(block: ResidualAttentionBlock, x: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of `x` (..., N, width), each (..., N, H, width / H).

    With `rows` (M,), queries are made at those positions only.
    """
    attn = block.attn
    x = block.ln_1(x)
    if rows is None:
        q, k, v = F.linear(x, attn.in_proj_weight, attn.in_proj_bias).chunk(3, dim=-1)
    else:
        width = x.shape[-1]
        q = F.linear(x.index_select(-2, rows), attn.in_proj_weight[:width], attn.in_proj_bias[:width])
        k, v = F.linear(x, attn.in_proj_weight[width:], attn.in_proj_bias[width:]).chunk(2, dim=-1)
    q, k, v = (t.unflatten(-1, (attn.num_heads, -1)) for t in (q, k, v))
    return q, k, v


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention of q (..., N, H, d) over k, v (..., M, H, d); `mask` (..., N, M) is True where allowed.

    Returns (..., N, H * d).
    """
    q, k, v = (t.transpose(-3, -2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(-3, -2).flatten(-2)


def finish(block: ResidualAttentionBlock, x: Tensor, attended: Tensor) -> Tensor:
    """The block's output at tokens whose input is `x` and whose attention result is `attended`, both (..., width)."""
    x = x + block.attn.out_proj(attended)
    return x + block.mlp(block.ln_2(x))
