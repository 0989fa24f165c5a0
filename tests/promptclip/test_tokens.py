"""Where the words and the learned vectors of a prompt stand, against clip's own tokenizer."""

import clip
import pytest
import torch

from promptclip.class_prompts import ClassPrompts, encode
from promptclip.plain import padded

NAMES = ["cat", "boeing_737-200", "2000 AM General Hummer SUV"]


def test_texts_are_tokenized_as_clip_does():
    texts = ["a photo of a cat.", "forest", "Annual Crop Land"]
    ids, slots = padded(ClassPrompts.from_texts(texts))
    assert torch.equal(ids, clip.tokenize(texts).long())
    assert (slots == -1).all()


@pytest.mark.parametrize("n_ctx", [1, 2, 4])
def test_learned_vectors_follow_the_start_token_and_leave_the_other_words(n_ctx):
    prompts = ClassPrompts.with_context(NAMES, n_ctx, "a photo of a")
    reference = clip.tokenize([f"a photo of a {name.replace('_', ' ')}." for name in NAMES]).long()
    ids, slots = padded(prompts)
    assert torch.equal(ids, reference)  # MaPLe's rule: with two vectors, "of a" stays in the prompt
    assert slots[:, 1 : 1 + n_ctx].tolist() == [list(range(n_ctx))] * 3
    assert (slots[:, 1 + n_ctx :] == -1).all() and (slots[:, 0] == -1).all()
    assert prompts.n_ctx == n_ctx


def test_place_holders_stand_for_a_random_context():
    ids, slots = padded(ClassPrompts.with_context(NAMES, 16))
    words = clip.tokenize([f"{' '.join(['X'] * 16)} {name.replace('_', ' ')}." for name in NAMES]).long()
    assert torch.equal(ids, words) and (slots[:, 1:17] >= 0).all()


@pytest.mark.parametrize(
    ("position", "expected"), [("middle", [0, 1, "cat", 2, 3, "."]), ("front", ["cat", 0, 1, 2, 3, "."])]
)
def test_class_token_position(position, expected):
    prompts = ClassPrompts.with_context(["cat"], 4, position=position)
    word = {encode("cat")[1]: "cat", encode(".")[1]: "."}
    inner = [
        slot if slot >= 0 else word[token]
        for token, slot in zip(prompts.ids[0][1:-1], prompts.context[0][1:-1], strict=True)
    ]
    assert inner == expected


def test_sentences():
    long = " ".join(["dog"] * 80)
    with pytest.raises(ValueError, match=r"class name 'dog dog .* needs 8\d tokens .* holds 77"):
        ClassPrompts.with_context(["cat", long], 2)
    with pytest.raises(ValueError, match="has fewer tokens than n_ctx = 5"):
        ClassPrompts.with_context(["cat"], 5, "a photo of a")
    with pytest.raises(ValueError, match="room for 0 to 74"):
        ClassPrompts.with_context(["cat"], 75)
    with pytest.raises(ValueError, match="none of end, middle, front"):
        ClassPrompts.with_context(["cat"], 2, position="back")
    with pytest.raises(ValueError, match="at least one"):
        ClassPrompts.from_texts([])
