"""Activation checkpointing changes no bit, the estimate that decides on it is near what is kept, and little is kept."""

import pytest
import torch
from small_clip import clip_model

from benchmarks.measure import saved_bytes
from promptclip import ClassPrompts, PromptedCLIP
from promptclip.learner import cosine_logits
from promptclip.model import choose_checkpointing

NAMES = [f"class number {i} {'of many ' * (i % 3)}" for i in range(40)]


def step(tower, layout, shift):
    """Loss and gradients of one step of both towers."""
    generator = torch.Generator().manual_seed(0)
    text, vision = (
        [torch.randn(2, width, generator=generator).mul(0.1).requires_grad_() for _ in range(3)] for width in (64, 128)
    )
    images = torch.randn(3, 3, 32, 32, generator=generator)
    image, image_shift, _ = tower.encode_image(images, vision, shift)
    texts, text_shift, _ = tower.encode_text(layout, text, shift)
    loss = cosine_logits(image, texts, tower.model.logit_scale).logsumexp(1).sum()
    return loss + (image_shift.norm.sum() + text_shift.norm.sum() if shift else 0), [*text, *vision]


@pytest.fixture
def tower():
    return PromptedCLIP(clip_model("tiny12"))


@pytest.fixture
def layout(tower):
    return tower.layout(ClassPrompts.with_context(NAMES, 2))


@pytest.mark.parametrize("shift", [False, True])
def test_checkpointing_changes_no_bit_and_keeps_a_fraction(tower, layout, shift):
    results, kept = [], []
    for on in (False, True):
        tower.set_checkpointing(on)
        kept.append(saved_bytes(lambda: step(tower, layout, shift), tower.model))
        loss, learned = step(tower, layout, shift)
        results.append([loss, *torch.autograd.grad(loss, learned)])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
    assert kept[1] < kept[0] / 4


@pytest.mark.parametrize("shift", [False, True])
def test_the_estimate_is_near_what_is_kept(tower, layout, shift):
    counted = saved_bytes(lambda: step(tower, layout, shift), tower.model)
    assert 0.7 < tower.kept_bytes(layout, 3, 2, shift) / counted < 1.4


def test_what_is_decided():
    assert choose_checkpointing("auto", 79, 100)[0] is False and choose_checkpointing("auto", 81, 100)[0] is True
    assert choose_checkpointing("auto", 10**15, None)[0] is False
    assert choose_checkpointing("on", 1, 100)[0] is True and choose_checkpointing("off", 99, 100)[0] is False
    assert "1.0 GiB, 2.0 GiB is free: activations are kept." in choose_checkpointing("auto", 2**30, 2**31)[1]
    with pytest.raises(ValueError, match="MODEL.CHECKPOINTING 'yes' is none of auto, on, off"):
        choose_checkpointing("yes", 1, 1)


def test_weights_that_learn_are_refused(tower, layout):
    tower.model.transformer.resblocks[0].mlp.c_fc.weight.requires_grad_()
    try:
        with pytest.raises(ValueError, match="requires_grad_"):
            tower.encode_text(layout, [torch.zeros(2, 64)])
    finally:
        tower.model.requires_grad_(False)
