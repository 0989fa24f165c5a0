"""Activation checkpointing changes no bit, the estimate that decides on it is near what is kept, and little is kept."""

import pytest
import torch
from small_clip import clip_model

from benchmarks.measure import saved_bytes
from promptclip import ClassPrompts, PromptedCLIP
from promptclip.learner import cosine_logits
from promptclip.memory import plan_memory

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


@pytest.fixture(params=[False, True], ids=["by length", "in rows"])
def tower(request):
    return PromptedCLIP(clip_model("tiny12"), in_rows=request.param)


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
    assert 0.9 < tower.kept_bytes(layout, 3, 2, shift) / counted < 1.15


@pytest.mark.parametrize(
    ("checkpointing", "graph", "needed", "tested", "free", "expected"),
    [
        ("auto", "off", 69, 50, 100, (False, False)),
        ("auto", "off", 71, 50, 100, (True, False)),
        ("auto", "off", 10**15, 50, None, (False, False)),
        ("on", "off", 1, 50, 100, (True, False)),
        ("off", "off", 99, 50, 100, (False, False)),
        ("auto", "auto", 50, 20, 100, (False, True)),
        ("auto", "auto", 50, 21, 100, (True, True)),  # what is given up for a graph costs less than launches do
        ("auto", "auto", 50, 70, 100, (False, False)),  # an evaluation would not fit beside a graph
        ("auto", "auto", 90, 70, 100, (True, False)),
        ("off", "auto", 50, 21, 100, (False, False)),
        ("off", "on", 50, 21, 100, (False, True)),
        ("auto", "auto", 10**15, 50, None, (False, True)),
    ],
)
def test_what_is_decided(checkpointing, graph, needed, tested, free, expected):
    plan = plan_memory(checkpointing, graph, needed, tested, free)
    assert plan[:2] == expected
    assert ("activations are kept" in plan.line) == (not plan.checkpointing)
    assert ("No CUDA graph" in plan.line) == (graph == "auto" and not plan.graph)


def test_what_is_said():
    assert "1.0 GiB, 2.0 GiB is free: activations are kept." in plan_memory("auto", "off", 2**30, 0, 2**31).line
    with pytest.raises(ValueError, match="MODEL.CHECKPOINTING 'yes' is none of auto, on, off"):
        plan_memory("yes", "off", 1, 1, 1)
    with pytest.raises(ValueError, match="MODEL.CUDA_GRAPH 'yes' is none of auto, on, off"):
        plan_memory("auto", "yes", 1, 1, 1)


def test_weights_that_learn_are_refused(tower, layout):
    tower.model.transformer.resblocks[0].mlp.c_fc.weight.requires_grad_()
    try:
        with pytest.raises(ValueError, match="requires_grad_"):
            tower.encode_text(layout, [torch.zeros(2, 64)])
    finally:
        tower.model.requires_grad_(False)
