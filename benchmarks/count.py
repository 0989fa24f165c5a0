"""Tokens, floating point operations and bytes kept for the backward pass: counted, to judge times and peaks by."""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from trainers.prompt_trainer import PromptTrainer


def _attention(query, key, value, *args, out_shape=None, **kwargs) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad, query, key, value, *args, out_shape=None, **kwargs) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


# torch counts the fused attention of accelerators, not the CPU's
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def flops(call: Callable[[], object]) -> int:
    """Floating point operations of matrix products, convolutions and attention in `call()`, backward included."""
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        call()
    return counter.get_total_flops()


def saved_bytes(call: Callable[[], object], frozen: torch.nn.Module) -> int:
    """Bytes that `call()` keeps for its backward pass, each storage once, the weights of `frozen` left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in frozen.parameters()}
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept.append(tensor)  # alive, so that no address is given out twice
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return sum(storages.values())


def line(points: dict[int, float], at: int) -> float:
    """The straight line through two points, at `at`: what a plain path costs grows by the same with every class.

    Raises:
        ValueError: not two points.
    """
    if len(points) != 2:
        raise ValueError(f"A line goes through 2 points, not {len(points)}.")
    (x0, y0), (x1, y1) = sorted(points.items())
    return y0 + (y1 - y0) / (x1 - x0) * (at - x0)


def text_tokens(trainer: PromptTrainer, path: str) -> int:
    """Tokens that a text pass computes."""
    if path == "plain":
        return len(trainer.classes) * trainer.clip.model.context_length
    return len(trainer.layout.ids)
