"""What the page says, without a browser."""

import pytest
from PIL import Image
from small_classifier import make

from promptclip.page import MOST_CLASSES, MOST_PICTURES, Answers, summary, takes_template


@pytest.fixture
def answers(weights):
    return Answers(make(weights("tiny4")))


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "<b>red.png")
    return str(tmp_path / "<b>red.png")


def own(answers):
    return "\n".join(answers.model.classes)


def test_bars_of_a_picture(answers, picture):
    said = answers([picture], own(answers), "")
    expected = answers.model.predict(picture)[0]
    assert said.count('class="bar"') == len(expected) and f"{expected[0][1]:.1%}" in said
    assert "&lt;b&gt;red.png" in said and "<b>" not in said  # a file's name is no markup
    assert answers.with_names(own(answers), "") is answers.model


def test_other_classes_change_the_answer(answers, picture):
    said = answers([picture], " cat \n\n<i>lynx\n", "")
    assert said.count('class="bar"') == 2 and "&lt;i&gt;lynx" in said and "<i>" not in said
    assert answers.with_names("cat\n<i>lynx", "") is answers.with_names(" cat \n\n<i>lynx\n", "")  # made once


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("", "needs at least one class name"),
        ("cat\ncat", "stands there 2 times"),
        ("\n".join(f"class {number}" for number in range(MOST_CLASSES + 1)), "the page takes 1,000"),
        (" ".join(["cat"] * 90), "needs 9"),
    ],
)
def test_class_names_that_are_none_are_told(answers, picture, lines, sentence):
    assert sentence in answers([picture], lines, "") and "alert" in answers([picture], lines, "")


def test_a_broken_file_is_told_beside_the_others(answers, picture, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG nothing")
    said = answers([picture, str(broken)], own(answers), "")
    assert said.count('class="answer"') == 1 and "broken.png" in said and str(tmp_path) not in said
    assert "the page takes 32" in answers([picture] * (MOST_PICTURES + 1), own(answers), "")
    assert "No picture yet" in answers([], own(answers), "")


def test_a_template_where_the_method_has_one(answers, picture):
    assert takes_template(answers.model) is False
    assert "takes no template" in answers([picture], own(answers), "a sketch of a {}.")
    assert f"{len(answers.model.classes)} classes" in summary(answers.model)
