"""The fast towers against the plain oracle: features, shifts and gradients, whatever the prompts."""

from copy import deepcopy

import clip.model
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_towers import LAYERS, NAMES, build, prompts

from benchmarks.measure import flops
from promptclip import plain as oracle
from promptclip.class_prompts import POSITIONS, ClassPrompts
from promptclip.learner import cosine_logits
from promptclip.model import PromptedCLIP

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-'&/(),.éü"
some_names = st.lists(st.sampled_from(NAMES) | st.text(LETTERS, min_size=1, max_size=24), min_size=1, max_size=5)


@pytest.fixture(scope="module", params=[True, False], ids=["OpenAI's", "GELU"])
def model(request):
    return build(openais=request.param)


@pytest.fixture(scope="module")
def single(model):
    return deepcopy(model).float()


def close(ours, reference):
    """To 1e-8 relative in double precision; to 1e-4 of the whole in single."""
    if reference.dtype == torch.double:
        return torch.allclose(ours, reference, rtol=1e-8, atol=1e-10)
    return (ours - reference).norm() <= 1e-4 * reference.norm()


def check(ours, reference, learned):
    """Features, shifts and the gradients of a random functional of both agree."""
    assert close(ours[0], reference[0])
    assert all(close(*norms) for norms in zip(ours[1].norm, reference[1], strict=True))  # block by block
    weight = torch.linspace(-1, 1, reference[0].numel(), dtype=reference[0].dtype).view_as(reference[0])
    total = [
        (pair[0] * weight).sum() + (norm * norm.detach().cos()).sum()
        for pair, norm in ((ours, ours[1].norm), (reference, reference[1]))
    ]
    gradients = [torch.autograd.grad(value, learned) for value in total]
    for ours, reference in zip(*gradients, strict=True):
        assert close(ours, reference)


@settings(max_examples=20, deadline=None)
@given(
    names=some_names,
    n=st.integers(1, 16),
    depth=st.integers(1, LAYERS),
    position=st.sampled_from(POSITIONS),
    words=st.sampled_from(["", "a photo of a"]),
    specific=st.booleans(),
    rows=st.booleans(),
    constant=st.booleans(),
    double=st.booleans(),
    seed=st.integers(0, 99),
)
def test_text_tower_equals_the_oracle(
    model, single, names, n, depth, position, words, specific, rows, constant, double, seed
):
    words = words if n <= 4 else ""
    depth = 1 if specific else depth
    model = model if double else single
    classes = ClassPrompts.with_context(names, n, words, position, specific)
    lead = [len(names)] if specific else []
    learned = prompts(torch.Generator().manual_seed(seed), depth, n, 64, *lead, dtype=model.dtype)
    tower = PromptedCLIP(model, in_rows=rows)
    ours = tower.encode_text(tower.layout(classes), learned, shift=True, constant=constant)
    check(ours, oracle.text(model, classes, learned, constant=constant), learned)
    assert ours[1].entries.tolist() == [64 * (len(row) - n) for row in classes.ids]
    without_shift, nothing, _ = tower.encode_text(tower.layout(classes), learned)
    assert nothing is None and close(without_shift, ours[0])


@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 3),
    n=st.integers(1, 16),
    depth=st.integers(1, LAYERS),
    constant=st.booleans(),
    double=st.booleans(),
    seed=st.integers(0, 99),
)
def test_vision_tower_equals_the_oracle(model, single, batch, n, depth, constant, double, seed):
    model = model if double else single
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, 3, 24, 24, generator=generator).to(model.dtype)
    learned = prompts(generator, depth, n, 128, dtype=model.dtype)
    tower = PromptedCLIP(model)
    ours = tower.encode_image(images, learned, shift=True, constant=constant)
    check(ours, oracle.vision(model, images, learned, constant=constant), learned)
    without_shift, nothing, _ = tower.encode_image(images, learned)
    assert nothing is None and close(without_shift, ours[0])


def test_without_prompts_the_towers_are_clip(model):
    tower = PromptedCLIP(model)
    images = torch.randn(2, 3, 24, 24, dtype=torch.double)
    assert close(tower.encode_image(images)[0], model.encode_image(images))
    texts = ["a photo of a cat.", "forest", "an origami of the general hummer suv"]
    assert close(tower.encode_texts(texts, batch=2), model.encode_text(clip.tokenize(texts)))
    logits = cosine_logits(tower.encode_image(images)[0], tower.encode_texts(texts), model.logit_scale)
    assert close(logits, model(images, clip.tokenize(texts))[0])
    image_shift = tower.encode_image(images, shift=True)[1]
    assert image_shift.norm.max() < 1e-100  # nothing prompts, so nothing shifts


@pytest.mark.parametrize("rows", [False, True])
def test_one_context_per_image_is_a_batch_of_text_passes(rows, model):
    classes = ClassPrompts.with_context(["cat", "annual crop land"], 3)
    tower = PromptedCLIP(model, in_rows=rows)
    layout = tower.layout(classes)
    contexts = torch.randn(4, 3, 64, dtype=torch.double)
    together = tower.encode_text(layout, [contexts])[0]
    assert together.shape == (4, 2, 32)
    for one, context in zip(together, contexts, strict=True):
        assert close(one, tower.encode_text(layout, [context])[0])
    images = torch.randn(4, 32, dtype=torch.double)
    for row, image, text in zip(cosine_logits(images, together, model.logit_scale), images, together, strict=True):
        assert close(row, cosine_logits(image[None], text, model.logit_scale)[0])


@pytest.mark.parametrize(("count", "layers"), [(1, LAYERS), (1000, 3)])
def test_longest_name_and_many_classes(count, layers):
    longest = " ".join(["cat"] * (77 - 2 - 4 - 1))
    names = [longest, *(f"cat {i}" for i in range(count - 1))]
    classes = ClassPrompts.with_context(names, 4, "a photo of a")
    assert len(classes.ids[0]) == 77
    model = build(layers)
    learned = prompts(torch.Generator().manual_seed(1), 2, 4, 64)
    tower = PromptedCLIP(model)
    ours = tower.encode_text(tower.layout(classes), learned, shift=True)
    check(ours, oracle.text(model, classes, learned), learned)
    with pytest.raises(ValueError, match="'cat cat .* needs 78 tokens"):
        ClassPrompts.with_context([f"{longest} cat"], 4, "a photo of a")


def test_no_class_pays_for_the_length_of_another(single):
    tower = PromptedCLIP(single)
    learned = prompts(torch.Generator().manual_seed(1), 2, 4, 64, dtype=torch.float)

    def operations(names):
        layout = tower.layout(ClassPrompts.with_context(names, 4, "a photo of a"))
        return flops(lambda: tower.encode_text(layout, learned, shift=True))

    many, longest = [f"cat {i}" for i in range(100)], "cat" + " dog" * 65
    assert operations([*many, longest]) <= operations(many) + operations([longest])


def test_sentences(model):
    tower = PromptedCLIP(model)
    layout = tower.layout(ClassPrompts.with_context(["cat"], 2))
    with pytest.raises(ValueError, match="3 tokens, but the class prompts have 2 places"):
        tower.encode_text(layout, [torch.zeros(3, 64)])
    with pytest.raises(ValueError, match="block 0 needs a context"):
        tower.encode_text(layout)
    with pytest.raises(ValueError, match="text tower has 12"):
        tower.encode_text(layout, [torch.zeros(2, 64)] * 13)
    with pytest.raises(ValueError, match="vision tower has 12"):
        tower.encode_image(torch.zeros(1, 3, 24, 24), [torch.zeros(2, 128)] * 13)


def test_a_resnet_takes_no_prompts():
    model = clip.model.CLIP(32, 32, (1, 1, 1, 1), 8, None, 77, 49408, 64, 1, 1).eval()
    tower = PromptedCLIP(model)
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(tower.encode_image(images)[0], model.encode_image(images))
    with pytest.raises(ValueError, match="ResNet"):
        tower.encode_image(images, [torch.zeros(2, 64)])
