"""yaml files: read as data, in bounded time, and nothing in them is silently dropped."""

import time

import pytest

from promptclip.common.yaml_file import LARGEST, read_yaml


def read(tmp_path, text):
    (tmp_path / "some.yaml").write_text(text)
    return read_yaml(tmp_path / "some.yaml")


def test_a_usual_file(tmp_path):
    text = "OPTIM:\n  LR: 0.002\n  STEPSIZE: [1, 2]\nSEED: 1\nINPUT:\n"
    assert read(tmp_path, text) == {"OPTIM": {"LR": 0.002, "STEPSIZE": [1, 2]}, "SEED": 1, "INPUT": None}
    assert read(tmp_path, "") is None and read(tmp_path, "a") == "a"


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("A: 1\nB: 2\nA: 3\n", "A", (1, 3)),
        ("OPTIM:\n  LR: 1\nX: 2\nOPTIM:\n  MAX_EPOCH: 3\n", "OPTIM", (1, 4)),
        ("OPTIM:\n  LR: 1\n  LR: 2\n", "LR", (2, 3)),
        ("- {A: 1, B: 2,\n   A: 3}\n", "A", (1, 2)),
        ('"A": 1\nA: 2\n', "A", (1, 2)),
        ("1: a\n0x1: b\n", "1", (1, 2)),
    ],
)
def test_a_key_that_stands_twice(tmp_path, text, key, lines):
    sentence = f"some.yaml, {key} stands in line {lines[0]} and again in line {lines[1]} of the same section"
    with pytest.raises(ValueError, match=sentence):
        read(tmp_path, text)


def test_equal_keys_of_different_sections(tmp_path):
    assert read(tmp_path, "A: {X: 1}\nB: {X: 1}\n") == {"A": {"X": 1}, "B": {"X": 1}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 20_000, "nested more than 50 levels"),
        ("{" * 20_000, "nested more than 50 levels"),
        ("[x, " * 20_000, "nested more than 50 levels"),
        ("- " * 20_000, "nested more than 50 levels"),
        ("? " * 20_000, "nested more than 50 levels"),
        ("a: " + "1:" * 90_000 + "1", "more than 10,000 letters"),
        ("a: &x 1\nb: *x\n", "aliases"),
        ("a:\n  <<: {b: 1}\n  c: 2\n", "merging"),
        ("? [a]\n: 1\n", "unhashable"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a" * (LARGEST + 1), "larger than"),
        ("\0", "special characters"),
    ],
)
def test_what_would_take_long_or_is_not_data(tmp_path, text, why):
    began = time.process_time()
    with pytest.raises(ValueError, match=f"some.yaml.*{why}"):
        read(tmp_path, text)
    assert time.process_time() - began < 5
