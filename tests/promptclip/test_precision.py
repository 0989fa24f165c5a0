"""The towers in half precision and under autocast stay near float32, gradients too; sums of squares do not overflow."""

from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from clip.model import convert_weights
from small_clip import clip_model

from promptclip import ClassPrompts, PromptedCLIP
from promptclip.learner import cosine_logits

CLASSES = ClassPrompts.with_context(["cat", "general hummer suv"], 2, "a photo of a")
MODES = {
    "fp16": (True, nullcontext, torch.float16, 0.01),
    "amp": (False, lambda: torch.autocast("cpu", torch.float16), torch.float16, 0.01),
    "bf16": (False, lambda: torch.autocast("cpu", torch.bfloat16), torch.bfloat16, 0.05),
}


def run(model, context=nullcontext):
    """Logits, both shifts and two gradients of one random functional; the types of features and shift."""
    generator = torch.Generator().manual_seed(0)
    text, vision = (
        [torch.randn(2, width, generator=generator).mul(0.1).requires_grad_() for _ in range(3)] for width in (64, 128)
    )
    images = torch.randn(3, 3, 32, 32, generator=generator)
    tower = PromptedCLIP(model)
    with context():
        image, image_shift, _ = tower.encode_image(images, vision, shift=True)
        texts, text_shift, _ = tower.encode_text(tower.layout(CLASSES), text, shift=True)
        logits = cosine_logits(image, texts, tower.model.logit_scale).float()
        (logits.logsumexp(1).sum() + image_shift.norm.sum() + text_shift.norm.sum()).backward()
    numbers = [logits, image_shift.norm, text_shift.norm, text[0].grad, vision[1].grad]
    return [number.detach().float() for number in numbers], (image.dtype, texts.dtype), image_shift.norm.dtype


@pytest.mark.parametrize("mode", MODES)
def test_reduced_precision_stays_near_float32(mode):
    halved, context, dtype, tolerance = MODES[mode]
    model = deepcopy(clip_model("tiny12"))
    if halved:
        convert_weights(model)
    expected, _, _ = run(clip_model("tiny12"))
    found, types, shift_type = run(model, context)
    assert types == (dtype, dtype) and shift_type == torch.float32
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= tolerance * other.norm()
