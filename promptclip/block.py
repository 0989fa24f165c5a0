"""One residual attention block of CLIP, taken apart so that the towers can share its pieces.

Weights stay in OpenAI's `clip.model.ResidualAttentionBlock`; only the order of work is ours. A block is
`x + attention(ln_1(x))`, then `+ perceptron(ln_2(.))`: `project`, `attend`, `finish`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from clip.model import QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from promptclip.changes import UNCHANGED, BlockChange

SLOPE = 1.702  # of CLIP's activation x * sigmoid(1.702 x) = silu(1.702 x) / 1.702


# ---- tokens ------------------------------------------------------------------------------------------------------


def layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """`norm` of x (..., width): in x's own type where the weights have it (the kernels add up in float32), which saves
    the casts to and fro of `clip`'s form."""
    if norm.weight.dtype == x.dtype:
        return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
    return norm(x)


def replace_from(start: int, x: Tensor, new: Tensor) -> Tensor:
    """x (G, N, W) with new (G, n, W) from place `start` on."""
    if torch.is_grad_enabled():
        return _Replaced.apply(x, new, start)
    return torch.cat([x[:, :start], new, x[:, start + new.shape[1] :]], dim=1)  # which exporters can read


class _Replaced(torch.autograd.Function):
    """In few kernels forward and backward."""

    @staticmethod
    def forward(ctx, x: Tensor, new: Tensor, start: int) -> Tensor:
        ctx.places = slice(start, start + new.shape[1])
        return torch.cat([x[:, :start], new, x[:, ctx.places.stop :]], dim=1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        new = grad[:, ctx.places]
        if not ctx.needs_input_grad[0]:
            return None, new, None
        old = grad.clone()
        old[:, ctx.places].zero_()
        return old, new, None


# ---- queries, keys and values ------------------------------------------------------------------------------------


def project(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """Queries, keys and values of `x` (..., N, width), as one (..., N, 3, H, width / H)."""
    return project_normed(block, layer_norm(block.ln_1, x), UNCHANGED)


def project_normed(block: ResidualAttentionBlock, x: Tensor, change: BlockChange) -> Tensor:
    """`project` of x that `ln_1` has normalised."""
    attn = block.attn
    qkv = F.linear(x, attn.in_proj_weight, attn.in_proj_bias)
    qkv = qkv if change.delta is None else qkv + change.delta(x, "qkv").to(qkv.dtype)
    return qkv.unflatten(-1, (3, attn.num_heads, -1))


def project_first(block: ResidualAttentionBlock, x: Tensor, prompts: slice | Tensor) -> Tensor:
    """`project` at a tower's first block, where only the prompt tokens depend on what is learned.

    Args:
        block: the first block.
        x: (G, N, width) tokens.
        prompts: where the prompt tokens stand: a slice of the places, or (n,) of them. All others keep nothing for the
            backward pass.
    """
    with torch.no_grad():
        constant = project(block, x)
    if isinstance(prompts, slice):
        return replace_from(prompts.start, constant, project(block, x[:, prompts]).to(constant.dtype))
    return constant.index_copy(1, prompts, project(block, x.index_select(1, prompts)).to(constant.dtype))


def project_queries_at(block: ResidualAttentionBlock, x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Queries at few `places` (M,) alone, (G, M, H, d), and keys and values of all x (G, N, width), (G, N, 2, H, d)."""
    x = layer_norm(block.ln_1, x)
    return project_normed_at(block, x, x.index_select(1, places), UNCHANGED)


def project_normed_at(
    block: ResidualAttentionBlock, x: Tensor, few: Tensor, change: BlockChange
) -> tuple[Tensor, Tensor]:
    """`project_queries_at` of x that `ln_1` has normalised, and of its tokens `few` (G, M, width) at those places."""
    attn, width = block.attn, x.shape[-1]
    q = F.linear(few, attn.in_proj_weight[:width], attn.in_proj_bias[:width])
    kv = F.linear(x, attn.in_proj_weight[width:], attn.in_proj_bias[width:])
    if change.delta is not None:
        q, kv = q + change.delta(few, "q").to(q.dtype), kv + change.delta(x, "kv").to(kv.dtype)
    return q.unflatten(-1, (attn.num_heads, -1)), kv.unflatten(-1, (2, attn.num_heads, -1))


# ---- attention ---------------------------------------------------------------------------------------------------


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention of q (B, N, H, d) over k, v (B, M, H, d); `mask` (B or 1, 1, N, M) is True where allowed.

    Returns (B, N, H * d). Four dimensions, because more would not reach the fused kernels.
    """
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


class SoftmaxAndSum(torch.autograd.Function):
    """Softmax over the last dimension, and the logarithm of the sum it divides by, (..., M) -> (..., M), (..., 1)."""

    @staticmethod
    def forward(ctx, scores: Tensor) -> tuple[Tensor, Tensor]:
        share = scores.softmax(-1)
        ctx.save_for_backward(share)
        return share, scores.amax(-1, True) - share.amax(-1, True).log()

    @staticmethod
    def backward(ctx, grad_share: Tensor, grad_sum: Tensor) -> Tensor:
        (share,) = ctx.saved_tensors
        return torch.ops.aten._softmax_backward_data(grad_share, share, -1, share.dtype).addcmul_(share, grad_sum)


def attend_with_and_without(qkv: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """Attention over all tokens, and of the first `tokens` over themselves: with and without prompts in sight.

    For the feature shift both are needed, and one costs little more than the other: over all tokens softmax attention
    is a mixture of that over the unprompted tokens and that over the prompts, weighted by the share of the softmax's
    sum that either has: a = s u + (1 - s) p, s = sigmoid(lse_tokens - lse_prompts). So u is computed once. Where fused
    kernels are faster than anything made of parts, on accelerators and in half precision, they run twice.

    Args:
        qkv: (B, N, 3, H, d), the prompts behind the other tokens.
        tokens: number of tokens that are not prompts.

    Returns:
        (B, N, H * d) with prompts, and (B, tokens, H * d) without.
    """
    if qkv.device.type != "cpu" or qkv.dtype not in (torch.float32, torch.float64):
        return attend(*qkv.unbind(2)), attend(*qkv[:, :tokens].unbind(2))
    q, k, v = (t.transpose(1, 2) for t in qkv.unbind(2))  # (B, H, N, d)
    q = q * q.shape[-1] ** -0.5
    sizes = [tokens, qkv.shape[1] - tokens]
    (k_tokens, k_prompts), (v_tokens, v_prompts) = k.split(sizes, 2), v.split(sizes, 2)
    share, sum_tokens = SoftmaxAndSum.apply(q @ k_tokens.transpose(-1, -2))
    unprompted = share @ v_tokens
    scores = q @ k_prompts.transpose(-1, -2)  # (B, H, N, n)
    prompts = scores.softmax(-1) @ v_prompts
    whole = torch.lerp(prompts, unprompted, torch.sigmoid(sum_tokens - scores.logsumexp(-1, True)))
    first, second = (t.transpose(1, 2).flatten(2) for t in (whole, unprompted[:, :, :tokens]))
    return first, second


# ---- the rest of the block ---------------------------------------------------------------------------------------


def finish(block: ResidualAttentionBlock, x: Tensor, attended: Tensor) -> Tensor:
    """The block's output at tokens whose input is `x` and whose attention result is `attended`, both (..., width)."""
    x = x + block.attn.out_proj(attended)
    return x + frozen_mlp(block, layer_norm(block.ln_2, x))


def finish_changed(
    block: ResidualAttentionBlock, x: Tensor, normed: Tensor, attended: Tensor, change: BlockChange
) -> Tensor:
    """`finish` of a changed block; `normed` is what `ln_1` made of x."""
    h = x + block.attn.out_proj(attended)
    out = h + frozen_mlp(block, change.ln_2(h) if change.ln_2 else layer_norm(block.ln_2, h))
    return out if change.adapter is None else out + change.adapter(normed).to(out.dtype)


class Activation(NamedTuple):
    """What a block's perceptron applies to its hidden layer h: `function(slope h) / slope`.

    Attributes:
        function: of h.
        backward: gradient of h, of that of the function's value and h.
        slope: is multiplied into the matrix products, both ways.
    """

    function: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]
    slope: float = 1.0


ACTIVATIONS = {
    QuickGELU: Activation(F.silu, torch.ops.aten.silu_backward, SLOPE),
    nn.SiLU: Activation(F.silu, torch.ops.aten.silu_backward),  # whose weights hold the slope (`fold_slope`)
    nn.GELU: Activation(F.gelu, torch.ops.aten.gelu_backward),
}


def activation_of(block: ResidualAttentionBlock) -> Activation:
    """What a block's perceptron applies.

    Raises:
        ValueError: it is none of those that the towers run.
    """
    kind = type(block.mlp.gelu)
    if kind not in ACTIVATIONS or getattr(block.mlp.gelu, "approximate", "none") != "none":
        raise ValueError(f"The towers run QuickGELU and GELU, and this CLIP has {block.mlp.gelu}.")
    return ACTIVATIONS[kind]


def fold_slope(block: ResidualAttentionBlock) -> None:
    """Have the weights of a block's perceptron hold the slope, if its activation has one: the same function.

    In place, once. A GPU then adds the biases within the matrix products, which it does not where these are scaled.
    """
    first, second, slope = block.mlp.c_fc, block.mlp.c_proj, activation_of(block).slope
    if slope != 1.0:
        first.weight.data, first.bias.data = first.weight.data * slope, first.bias.data * slope
        second.weight.data = second.weight.data / slope
        block.mlp.gelu = nn.SiLU()


def perceptron(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, by: Activation) -> tuple[Tensor, Tensor]:
    """Hidden layer before its activation, scaled by the slope, and output of CLIP's two-layer perceptron."""
    hidden = torch.addmm(b1, x, w1.t(), alpha=by.slope, beta=by.slope)
    return hidden, torch.addmm(b2, by.function(hidden), w2.t(), alpha=1 / by.slope)


class FrozenMLP(torch.autograd.Function):
    """CLIP's two-layer perceptron with frozen weights: one tensor kept for the backward pass, not four.

    (M, width) -> (M, width). Both factors of the slope s ride along in the matrix products, and cancel in the
    gradient: d/dx [f(s W x) / s] = f'(s W x) W.
    """

    @staticmethod
    def forward(ctx, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, by: Activation) -> Tensor:
        hidden, out = perceptron(x, w1, b1, w2, b2, by)
        ctx.save_for_backward(hidden, w1, w2)
        ctx.by = by
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        hidden, w1, w2 = ctx.saved_tensors
        return ctx.by.backward(grad @ w2, hidden) @ w1, None, None, None, None, None


def frozen_mlp(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """What `block.mlp` computes, for x (..., width).

    Raises:
        ValueError: the block's weights are not frozen; they would silently get no gradient.
    """
    first, second, by = block.mlp.c_fc, block.mlp.c_proj, activation_of(block)
    weights = [first.weight, first.bias, second.weight, second.bias]
    if any(weight.requires_grad for weight in weights):
        raise ValueError("The towers train prompts of a frozen CLIP: call requires_grad_(False) on the model first.")
    rows = x.to(first.weight.dtype).flatten(0, -2)  # under autocast the blocks' weights are in its type (`Precision`)
    if not torch.is_grad_enabled():  # plain operations, which exporters can read
        out = perceptron(rows, first.weight, first.bias, second.weight, second.bias, by)[1]
        return out.view(x.shape)
    return FrozenMLP.apply(rows, *weights, by).view(x.shape)


# ---- memory for time ---------------------------------------------------------------------------------------------


def recomputed(function: Callable, random: bool = False) -> Callable:
    """A form of `function` that keeps its inputs alone and computes the rest again in the backward pass; where it is
    `random`, with the same random numbers."""
    return partial(checkpoint, function, use_reentrant=False, preserve_rng_state=random)
