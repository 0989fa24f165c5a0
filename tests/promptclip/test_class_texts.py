"""Texts about classes, made of templates."""

from promptclip.class_texts import fill


def test_underscores_are_spaces_unless_they_stay():
    assert fill("a {}.", ["sea_lion", "ox"]) == ["a sea lion.", "a ox."]
    assert fill("a {}.", ["sea_lion"], underscores=True) == ["a sea_lion."]
