"""CLIP's two-layer perceptron with frozen weights: one tensor kept for the backward pass, not four."""

import torch
from clip.model import ResidualAttentionBlock
from torch import Tensor
from torch.nn import functional as F

SLOPE = 1.702  # of CLIP's activation x * sigmoid(1.702 x) = silu(1.702 x) / 1.702


class FrozenMLP(torch.autograd.Function):
    """(M, width) -> (M, width). Both factors of the activation ride along in the matrix products, and cancel in the
    gradient: d/dx [silu(s W x) / s] = silu'(s W x) W."""

    @staticmethod
    def forward(ctx, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        hidden = torch.addmm(b1, x, w1.t(), alpha=SLOPE, beta=SLOPE)
        ctx.save_for_backward(hidden, w1, w2)
        return torch.addmm(b2, F.silu(hidden), w2.t(), alpha=1 / SLOPE)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        hidden, w1, w2 = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grad @ w2, hidden) @ w1, None, None, None, None


def mlp(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """What `block.mlp` computes, for x (..., width).

    Raises:
        ValueError: the block's weights are not frozen; they would silently get no gradient.
    """
    first, second = block.mlp.c_fc, block.mlp.c_proj
    weights = [first.weight, first.bias, second.weight, second.bias]
    if any(weight.requires_grad for weight in weights):
        raise ValueError("The towers train prompts of a frozen CLIP: call requires_grad_(False) on the model first.")
    if torch.is_autocast_enabled(x.device.type):
        kind = torch.get_autocast_dtype(x.device.type)
        x, *weights = (tensor.to(kind) for tensor in (x, *weights))
    return FrozenMLP.apply(x.flatten(0, -2), *weights).view(x.shape)
