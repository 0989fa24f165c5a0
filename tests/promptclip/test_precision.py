"""The towers in half precision and under autocast stay near float32, gradients too; sums of squares do not overflow."""

from copy import deepcopy

import pytest
import torch
from small_clip import clip_model, in_double
from torch.utils._python_dispatch import TorchDispatchMode

from promptclip import ClassPrompts, PromptedCLIP
from promptclip.block import fold_slope, frozen_mlp
from promptclip.learner import cosine_logits
from promptclip.model import Precision

CLASSES = ClassPrompts.with_context(["cat", "general hummer suv"], 2, "a photo of a")
MODES = {"fp16": 0.01, "amp": 0.01, "bf16": 0.05}


def precision_of(name):
    """As on a GPU; bf16 is the same on a CPU, and would ask a GPU whether it can."""
    return Precision(name, torch.device("cpu" if name == "bf16" else "cuda"))


def run(name, rows):
    """Logits, both shifts and two gradients of one random functional; the types of features and shift."""
    precision = precision_of(name)
    model = precision.weights(deepcopy(clip_model("tiny12")))
    generator = torch.Generator().manual_seed(0)
    text, vision = (
        [torch.randn(2, width, generator=generator).mul(0.1).requires_grad_() for _ in range(3)] for width in (64, 128)
    )
    images = torch.randn(3, 3, 32, 32, generator=generator)
    tower = PromptedCLIP(model, rows, precision.autocast)
    image, image_shift, _ = tower.encode_image(images, vision, shift=True)
    texts, text_shift, _ = tower.encode_text(tower.layout(CLASSES), text, shift=True)
    logits = cosine_logits(image, texts, tower.model.logit_scale).float()
    (logits.logsumexp(1).sum() + image_shift.norm.sum() + text_shift.norm.sum()).backward()
    numbers = [logits, image_shift.norm, text_shift.norm, text[0].grad, vision[1].grad]
    return [number.detach().float() for number in numbers], (image.dtype, texts.dtype), image_shift.norm.dtype


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_reduced_precision_stays_near_float32(mode, rows):
    expected, _, _ = run("fp32", rows)
    found, types, shift_type = run(mode, rows)
    assert types == (torch.float32, torch.float32) and shift_type == torch.float32
    for one, other in zip(found, expected, strict=True):
        assert 0 < (one - other).norm() <= MODES[mode] * other.norm()


def test_weights_are_cast_once():
    """Nothing that a step does casts a matrix of a block."""
    cast = []

    class Casts(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten._to_copy.default and args[0].data_ptr() in matrices:
                cast.append(args[0].shape)
            return func(*args, **(kwargs or {}))

    for name in ("amp", "bf16"):
        precision = precision_of(name)
        model = precision.weights(deepcopy(clip_model("tiny12")))
        matrices = {p.data_ptr() for block in model.transformer.resblocks for p in block.parameters() if p.dim() == 2}
        tower = PromptedCLIP(model, True, precision.autocast)
        prompt = torch.zeros(2, 64, requires_grad=True)
        with Casts():
            tower.encode_text(tower.layout(CLASSES), [prompt], shift=True)[1].norm.sum().backward()
        assert prompt.grad is not None and not cast


def test_a_slope_within_the_weights_is_the_same_function():
    model = in_double(clip_model("tiny12"))
    block, x = model.transformer.resblocks[0], torch.randn(5, 64, dtype=torch.double, requires_grad=True)
    before = frozen_mlp(block, x)
    expected = torch.autograd.grad(before.sum(), x)[0]
    for _ in range(2):  # again is once
        fold_slope(block)
        assert torch.allclose(block.mlp(x), before, rtol=1e-12, atol=1e-12)
        assert torch.allclose(frozen_mlp(block, x), before, rtol=1e-12, atol=1e-12)
        assert torch.allclose(torch.autograd.grad(frozen_mlp(block, x).sum(), x)[0], expected, rtol=1e-12, atol=1e-12)
