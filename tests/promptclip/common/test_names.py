"""The sentence that a missing package gets."""

import pytest

import promptclip.common.names as needs


def test_what_is_there_passes():
    needs.require("torch", "dassl", "yacs")


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (["dassl"], "package dassl cannot be found; run `pip install ./dassl-core` in"),
        (["torch"], "package torch cannot be found; run `pip install ./dassl-core .` in"),
        (["torch", "dassl"], "packages torch, dassl cannot be found; run `pip install ./dassl-core .` in"),
        (["matplotlib"], "run `pip install matplotlib`"),
    ],
)
def test_what_is_missing_is_named_with_the_command(monkeypatch, missing, words):
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name in missing else object())
    with pytest.raises(ModuleNotFoundError) as caught:
        needs.require(*missing, "clip")
    assert words in str(caught.value)
