"""Attention with and without prompt tokens in sight, for the feature shift, at little more than the price of one.

Over all tokens softmax attention is a mixture of that over the words and that over the prompts, weighted by the share
of the softmax's sum that either has: a = s b + (1 - s) p, s = sigmoid(lse_words - lse_prompts). So b, which the pass
without prompts needs anyway, is computed once.
"""

import torch
from torch import Tensor

from promptclip.block import attend


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


def attend_with_and_without(qkv: Tensor, words: int) -> tuple[Tensor, Tensor]:
    """Attention of qkv (B, N, 3, H, d) over all N tokens, (B, N, H * d), and of its first `words` over themselves.

    Where fused kernels are faster than anything made of parts, on accelerators and in half precision, they run twice.
    """
    if qkv.device.type != "cpu" or qkv.dtype not in (torch.float32, torch.float64):
        return attend(*qkv.unbind(2)), attend(*qkv[:, :words].unbind(2))
    q, k, v = (t.transpose(1, 2) for t in qkv.unbind(2))  # (B, H, N, d)
    q = q * q.shape[-1] ** -0.5
    sizes = [words, qkv.shape[1] - words]
    (k_words, k_prompts), (v_words, v_prompts) = k.split(sizes, 2), v.split(sizes, 2)
    share, sum_words = SoftmaxAndSum.apply(q @ k_words.transpose(-1, -2))
    bare = share @ v_words
    scores = q @ k_prompts.transpose(-1, -2)  # (B, H, N, n)
    prompts = scores.softmax(-1) @ v_prompts
    whole = torch.lerp(prompts, bare, torch.sigmoid(sum_words - scores.logsumexp(-1, True)))
    return tuple(t.transpose(1, 2).flatten(2) for t in (whole, bare[:, :, :words]))
