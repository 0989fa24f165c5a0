"""Changed blocks: the fast towers against the plain oracle, whatever is changed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_towers import NAMES, build, prompts

from promptclip import plain as oracle
from promptclip.changes import BlockChange
from promptclip.class_prompts import ClassPrompts
from promptclip.model import PromptedCLIP

LAYERS = 5


@pytest.fixture(scope="module")
def model():
    return build(LAYERS)


class Delta:
    """A random delta of queries, keys and values, low rank."""

    def __init__(self, width, generator):
        self.weight = torch.randn(3, width, width, generator=generator, dtype=torch.double).mul(0.05).requires_grad_()

    def __call__(self, x, parts):
        return torch.cat([x @ self.weight["qkv".index(part)] for part in parts], dim=-1)


def changed(draw, width, generator, classes=0):
    """Random changes of all blocks of a tower, and what is learned in them."""
    learned, found = [], []

    def random(*shape):
        tensor = torch.randn(*shape, generator=generator, dtype=torch.double).mul(0.3).requires_grad_()
        learned.append(tensor)
        return tensor

    n = draw(st.integers(1, 3))
    first = draw(st.sampled_from(["tokens", "class_tokens"]))
    kinds = st.sets(st.sampled_from([first, "adapter", "delta", "ln_1", "ln_2"]))
    for _ in range(LAYERS):
        kind, fields = draw(kinds), {}
        if "tokens" in kind:
            fields["tokens"] = random(n, width)
        if "class_tokens" in kind and classes:
            fields["class_tokens"] = random(classes, 2, width)
        if "delta" in kind:
            fields["delta"] = Delta(width, generator)
            learned.append(fields["delta"].weight)
        for name in ("adapter", "ln_1", "ln_2"):
            if name in kind:
                weight = random(width)
                fields[name] = (
                    (lambda x, w=weight: torch.tanh(x * w))
                    if name == "adapter"
                    else (lambda x, w=weight: torch.nn.functional.layer_norm(x, (width,), 1 + w))
                )
        found.append(BlockChange(**fields) if fields else None)
    return found, learned


def compare(ours, reference, learned):
    assert torch.allclose(ours, reference, rtol=1e-8, atol=1e-10)
    weight = torch.linspace(-1, 1, reference.numel(), dtype=torch.double).view_as(reference)
    gradients = [
        torch.autograd.grad((one * weight).sum(), learned, retain_graph=True, allow_unused=True)
        for one in (ours, reference)
    ]
    for mine, theirs in zip(*gradients, strict=True):
        theirs = torch.zeros(()) if theirs is None else theirs
        assert torch.allclose(torch.zeros_like(theirs) if mine is None else mine, theirs, rtol=1e-8, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(
    data=st.data(),
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=5),
    n_ctx=st.integers(0, 4),
    words=st.sampled_from(["", "a photo of a"]),
    checkpointing=st.booleans(),
    rows=st.booleans(),
    seed=st.integers(0, 99),
)
def test_text_tower_with_changes_equals_the_oracle(model, data, names, n_ctx, words, checkpointing, rows, seed):
    generator = torch.Generator().manual_seed(seed)
    if n_ctx:
        classes = ClassPrompts.with_context(names, n_ctx, words if n_ctx <= 4 else "")
        learned = prompts(generator, data.draw(st.integers(1, 3)), n_ctx, 64)
    else:
        classes, learned = ClassPrompts.from_texts([f"a photo of a {name}." for name in names]), []
    changes, more = changed(data.draw, 64, generator, len(names))
    fast, plain = PromptedCLIP(model, in_rows=rows), oracle.PlainCLIP(model)
    fast.set_checkpointing(checkpointing)
    ours = fast.encode_text(fast.layout(classes), learned, changes=changes).features
    reference = plain.encode_text(classes, learned, changes=changes).features
    if learned + more:
        compare(ours, reference, learned + more)


@settings(max_examples=20, deadline=None)
@given(
    data=st.data(), n=st.integers(0, 3), images=st.integers(1, 3), checkpointing=st.booleans(), seed=st.integers(0, 99)
)
def test_vision_tower_with_changes_equals_the_oracle(model, data, n, images, checkpointing, seed):
    generator = torch.Generator().manual_seed(seed)
    learned = prompts(generator, data.draw(st.integers(1, 3)), n, 128) if n else []
    changes, more = changed(data.draw, 128, generator)
    x = torch.randn(images, 3, 24, 24, generator=generator, dtype=torch.double)
    fast = PromptedCLIP(model)
    fast.set_checkpointing(checkpointing)
    ours, reference = (one.encode_image(x, learned, changes=changes) for one in (fast, oracle.PlainCLIP(model)))
    assert (ours.tokens is None) == (reference.tokens is None) == all(not c or c.tokens is None for c in changes)
    if learned + more:
        compare(ours.features, reference.features, learned + more)
    if ours.tokens is not None:
        compare(ours.tokens, reference.tokens, learned + more)


def test_what_does_not_go_together_is_told(model):
    fast = PromptedCLIP(model)
    layout = fast.layout(ClassPrompts.from_texts(["cat", "dog"]))
    tokens = BlockChange(tokens=torch.zeros(2, 64, dtype=torch.double))
    other = BlockChange(tokens=torch.zeros(3, 64, dtype=torch.double))
    with pytest.raises(ValueError, match="changes for 6 blocks"):
        fast.encode_text(layout, changes=[tokens] * 6)
    with pytest.raises(ValueError, match="2 tokens were put in"):
        fast.encode_text(layout, changes=[tokens, other])
    own = BlockChange(class_tokens=torch.zeros(2, 2, 64, dtype=torch.double))
    with pytest.raises(ValueError, match="cannot be put in where"):
        fast.encode_text(layout, changes=[tokens, own])
    with pytest.raises(ValueError, match="not measured where blocks are changed"):
        fast.encode_text(layout, shift=True, changes=[tokens])
    with pytest.raises(ValueError, match="takes no class_tokens"):
        fast.encode_image(
            torch.zeros(1, 3, 24, 24, dtype=torch.double),
            changes=[BlockChange(class_tokens=torch.zeros(1, 2, 128, dtype=torch.double))],
        )
    with pytest.raises(ValueError, match="no 9 positions before every class's end"):
        fast.encode_text(layout, changes=[BlockChange(class_tokens=torch.zeros(2, 9, 64, dtype=torch.double))])


def test_dropout_shares_nothing_between_classes(model):
    """With a mask for every position of every class, known beforehand, the packed pass equals the padded one."""
    names = ["cat", "boeing 737-200", "forest"]
    classes = ClassPrompts.from_texts([f"a photo of a {name}." for name in names])
    fast, plain = PromptedCLIP(model), oracle.PlainCLIP(model)
    generator = torch.Generator().manual_seed(1)
    weight = Delta(64, generator)
    mask = (torch.rand(LAYERS, 3, len(names), 77, 64, generator=generator) > 0.25).double() / 0.75
    lengths = [len(row) for row in classes.ids]
    order = sorted(range(3), key=lengths.__getitem__)
    ends = [lengths[k] - 1 for k in order]

    class Masked:
        def __init__(self, block):
            self.block = block

        def __call__(self, x, parts):
            found = []
            for part in parts:
                number = "qkv".index(part)
                every = mask[self.block, number]
                if x.shape[1] == 77:
                    chosen = every
                elif x.shape[1] == len(names):
                    chosen = torch.stack([every[k, end] for k, end in zip(order, ends, strict=True)])
                else:
                    chosen = torch.cat([every[k, : lengths[k]] for k in order])
                found.append((x * chosen) @ weight.weight[number])
            return torch.cat(found, dim=-1)

    changes = [BlockChange(delta=Masked(block), random=True) for block in range(LAYERS)]
    ours = fast.encode_text(fast.layout(classes), changes=changes).features
    compare(ours, plain.encode_text(classes, changes=changes).features, [weight.weight])
