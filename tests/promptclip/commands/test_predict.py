"""`promptclip predict`, `info` and `pack`: what they print, write and return."""

import csv
import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from small_classifier import CLASSES, make

import promptclip
from promptclip.cli import main


@pytest.fixture(scope="module")
def model(weights, tmp_path_factory):
    return make(weights("tiny4")).save(tmp_path_factory.mktemp("model") / "classifier")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """a.png, b.jpg and, below, c.png."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "below").mkdir()
    noise = np.random.RandomState(0)
    for name in ("a.png", "b.jpg", "below/c.png"):
        Image.fromarray(noise.randint(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def call(capfd, monkeypatch):
    """call(argument, ..., given=bytes) -> exit code, output and errors."""

    def run(*arguments, given=b""):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(given)))
        capfd.readouterr()
        code = main([str(one) for one in arguments])
        out, err = capfd.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return run


def expected(model, path, top=5):
    return promptclip.load(model).predict(path, top)[0]


def test_one_line_a_picture_and_nothing_else(model, photos, call):
    done = call("predict", model, photos / "a.png", "--top", 2)
    (first, p), (second, q) = expected(model, photos / "a.png", 2)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{photos / 'a.png'}: {first} {p:.1%}, {second} {q:.1%}\n"


def test_folders_and_globs(model, photos, call):
    names = ["a.png", "b.jpg", "below/c.png"]
    for where in (photos, photos / "**" / "*.[pj]*", f"{photos}/"):
        done = call("predict", model, where, "--json", "--batch", 2)
        rows = [json.loads(line) for line in done.out.splitlines()]
        assert [row["path"] for row in rows] == [str(photos / name) for name in names] and done.code == 0
        for row in rows:
            pairs = [(one["class"], pytest.approx(one["probability"], abs=1e-6)) for one in row["predictions"]]
            assert expected(model, row["path"]) == pairs


def test_standard_input_is_a_picture_or_paths(model, photos, call):
    picture = call("predict", model, "-", "--json", given=(photos / "a.png").read_bytes())
    listed = call("predict", model, "-", "--json", given=f"{photos / 'a.png'}\n\n{photos / 'b.jpg'}\n".encode())
    named = [json.loads(line) for line in listed.out.splitlines()]
    assert [row["path"] for row in named] == [str(photos / "a.png"), str(photos / "b.jpg")]
    found = json.loads(picture.out)
    assert found["path"] == "-" and found["predictions"][0]["class"] == named[0]["predictions"][0]["class"]
    none = call("predict", model, "-", given=b"")
    assert none.code == 1 and "unreadable: -: The picture in standard input" in none.err


def test_a_table_that_no_spreadsheet_runs(model, photos, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "=1+1.png").write_bytes((photos / "a.png").read_bytes())
    done = call("predict", model, "=1+1.png", photos / "b.jpg", "--csv", "out/table.csv", "--top", 1)
    assert (done.code, done.out, done.err) == (0, "", "")
    with open("out/table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["./=1+1.png", str(photos / "b.jpg")]
    (name, p) = expected(model, photos / "b.jpg", 1)[0]
    assert rows[1]["class_1"] == name and float(rows[1]["probability_1"]) == pytest.approx(p, rel=1e-5)


def test_what_cannot_be_read_is_named_and_counted(model, photos, call, tmp_path):
    (tmp_path / "broken.png").write_bytes((photos / "a.png").read_bytes()[:99])
    (tmp_path / "empty").mkdir()
    wrong = [tmp_path / "broken.png", tmp_path / "nothing.png", tmp_path / "*.jpg", tmp_path / "empty"]
    done = call("predict", model, wrong[0], photos / "a.png", *wrong[1:], photos / "b.jpg")
    assert done.code == 1 and "4 of 6 pictures could not be read." in done.err
    assert all(f"unreadable: {path}: " in done.err for path in wrong)
    assert [line.partition(":")[0] for line in done.out.splitlines()] == [
        str(photos / name) for name in ("a.png", "b.jpg")
    ]


def test_other_class_names(model, photos, call, weights, tmp_path):
    done = call("predict", model, photos / "a.png", "--classes", "cat, lynx", "--json")
    assert {one["class"] for one in json.loads(done.out)["predictions"]} == {"cat", "lynx"}
    prompted = make(weights("tiny4"), "vision").save(tmp_path / "vision")
    command = ["predict", prompted, photos / "a.png", "--classes", "cat,dog", "--json"]
    first, second = call(*command), call(*command, "--template", "a sketch of a {}.")
    assert first.code == second.code == 0 and first.out != second.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--top", "0"], "must be 1 or more"),
        (["--batch", "0"], "must be 1 or more"),
        (["--template", "a {}"], "--template needs --classes"),
        (["--classes", "cat,,dog"], "none may be empty"),
        (["--classes", "cat,cat"], "stands there 2 times"),
        (["--classes", "cat", "--template", "a {}"], "takes no template"),
        (["--backbone", "EmojiCLIP"], "holds other weights"),
        (["--backbone", "nothing.pt"], "no backbone"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(model, photos, call, arguments, sentence):
    done = call("predict", model, photos / "a.png", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("error: ") and sentence in done.err


def test_a_model_that_is_not_there(photos, call, tmp_path):
    done = call("predict", tmp_path, photos / "a.png")
    assert done.code == 2 and "holds no trained classifier" in done.err


def test_info(model, call):
    shown = call("info", model)
    assert shown.code == 0 and "RESTORE_m" in shown.out and "81.25" in shown.out and CLASSES[0] in shown.out
    config = json.loads(call("info", model, "--json").out)
    assert config == json.loads((model / "config.json").read_text())
    assert call("info", model.parent / "nothing").code == 2
