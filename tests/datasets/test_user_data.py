"""Images of one's own: a folder a class, or a list."""

import json

import pytest
from trees import class_folders, image, text

from runs.config import default_config
from runs.record import differences
from trainers.templates import dataset_template


def three_parts(root, parts=("train", "val", "test")):
    for part in parts:
        class_folders(root / part, ["café au lait", "espresso_doppio"], ".PNG", count=3)
    return root


def test_train_val_and_test_folders(load, tmp_path):
    dataset = load("ImageFolder", three_parts(tmp_path))
    assert dataset.classnames == ["café au lait", "espresso_doppio"]
    assert [len(part) for part in (dataset.train_x, dataset.val, dataset.test)] == [4, 4, 6]
    assert not list(tmp_path.glob("split*"))  # nothing of ours stays in a user's folder


def test_val_is_optional(load, tmp_path):
    assert load("ImageFolder", three_parts(tmp_path, ("train", "test"))).val is None


def test_base_and_new(load, tmp_path):
    dataset = load("ImageFolder", three_parts(tmp_path), subset="new")
    assert dataset.classnames == ["espresso_doppio"] and {item.label for item in dataset.test} == {0}


def test_class_names_of_a_file(load, tmp_path):
    text(three_parts(tmp_path) / "classnames.json", json.dumps({"espresso_doppio": "double espresso"}))
    assert load("ImageFolder", tmp_path).classnames == ["café au lait", "double espresso"]


def test_a_template(load, tmp_path):
    dataset = load("ImageFolder", three_parts(tmp_path), TEMPLATE="a cup of {}.")
    assert dataset_template(dataset.cfg) == "a cup of {}."
    assert dataset_template(load("ImageFolder", tmp_path).cfg) == "a photo of a {}."


def test_one_folder_is_divided_once(load, tmp_path):
    class_folders(tmp_path, ["b", "a"], count=10)
    first = load("ImageFolder", tmp_path, shots=-1)
    assert [len(part) for part in (first.train_x, first.val, first.test)] == [10, 4, 6]
    image(tmp_path / "a" / "0_new.jpg")
    again = load("ImageFolder", tmp_path, shots=-1, seed=2)
    assert repr(again.train_x) == repr(first.train_x) and repr(again.test) == repr(first.test)
    class_folders(tmp_path, ["c"])
    with pytest.raises(ValueError, match=r"split_zhou_ImageFolder\.json was made before .* class folder 'c'; delete"):
        load("ImageFolder", tmp_path)


@pytest.mark.parametrize(
    ("spoil", "error", "sentence"),
    [
        (lambda root: (root / "test").rename(root / "tset"), FileNotFoundError, r"there is no .*/test\. Expected"),
        (
            lambda root: image(root / "test/mocha/1.jpg"),
            ValueError,
            r"/test has the class folder 'mocha', .*/train has not",
        ),
        (
            lambda root: text(root / "classnames.json", '{"espreso_doppio": "x"}'),
            ValueError,
            r"classnames.json names the class folder 'espreso_doppio', .* did you mean 'espresso_doppio'\?",
        ),
        (lambda root: text(root / "classnames.json", '{"espresso_doppio": " "}'), ValueError, "an empty name"),
        (lambda root: text(root / "classnames.json", "{"), ValueError, "classnames.json is not valid JSON"),
        (lambda root: (root / "train/empty").mkdir(), ValueError, "no training image with label 1"),
    ],
)
def test_a_folder_that_is_not_as_expected(load, tmp_path, spoil, error, sentence):
    spoil(three_parts(tmp_path))
    with pytest.raises(error, match=sentence):
        load("ImageFolder", tmp_path)


def test_an_empty_folder(load, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no .*/train\. Expected in .*: train/<class>/\*.*see docs/data"):
        load("ImageFolder", tmp_path)


ROWS = [
    (f"{part}/{name} {number}.jpg", name, part) for part in ("train", "test") for name in "zä" for number in range(2)
]


def listed(root, lines, name="images.csv"):
    for path, _, _ in ROWS:
        image(root / path)
    text(root / name, *lines)
    return root


def as_csv(rows, header="path,class,split"):
    return [header, *(",".join(row) for row in rows)]


def as_json(rows):
    return [json.dumps(dict(zip(("path", "class", "split"), row, strict=False))) for row in rows]


@pytest.mark.parametrize(("name", "lines"), [("images.csv", as_csv(ROWS)), ("images.jsonl", as_json(ROWS))])
def test_a_list(load, tmp_path, name, lines):
    dataset = load("ImageList", listed(tmp_path, lines, name), shots=-1)
    assert dataset.classnames == ["z", "ä"]
    assert [len(dataset.train_x), dataset.val, len(dataset.test)] == [4, None, 4]
    assert dataset.train_x[0].impath == str(tmp_path / "train/z 0.jpg")


def test_a_list_of_another_name(load, tmp_path):
    listed(tmp_path, as_csv(ROWS, "path, class, split"), "mine.csv")
    assert len(load("ImageList", tmp_path, shots=1, LIST="mine.csv").train_x) == 2
    with pytest.raises(FileNotFoundError, match="there is no .*yours.csv"):
        load("ImageList", tmp_path, LIST="yours.csv")


def test_a_list_without_split_is_divided_the_same_every_time(load, tmp_path):
    rows = [(f"{number}.jpg", "cat" if number % 2 else "dog") for number in range(20)]
    for path, _ in rows:
        image(tmp_path / path)
    text(tmp_path / "images.csv", *as_csv(rows, "path,class"))
    first, again = (load("ImageList", tmp_path, shots=-1, seed=seed) for seed in (1, 2))
    assert [len(part) for part in (first.train_x, first.val, first.test)] == [10, 4, 6]
    assert repr(first.test) == repr(again.test)


@pytest.mark.parametrize(
    ("name", "lines", "sentence"),
    [
        ("images.csv", ["file,label"], r"must begin with the column names path,class,split; it has file, label"),
        ("images.csv", [], "it has nothing"),
        (
            "images.csv",
            as_csv([("a.jpg", "cat", "tarin")]),
            r"images\.csv, line 2: the split is 'tarin'; it must be",
        ),
        ("images.csv", as_csv([("a.jpg", "", "train")]), "line 2: there is no 'class'"),
        ("images.csv", as_csv([("../a.jpg", "cat", "train")]), "line 2 has the path '../a.jpg', which leads out"),
        ("images.csv", as_csv([*ROWS, ("a.jpg", "z", "")]), "gives some images a split and others none"),
        ("images.jsonl", ["{"], r"images\.jsonl, line 1 is not valid JSON"),
        ("images.jsonl", ["[1]"], r"line 1: expected \{"),
        ("images.jsonl", ['{"path": 3, "class": "z", "split": "train"}'], "'path' is 3; it must be a text"),
    ],
)
def test_a_list_that_is_not_as_expected(load, tmp_path, name, lines, sentence):
    with pytest.raises(ValueError, match=sentence):
        load("ImageList", listed(tmp_path, lines, name))


def test_a_list_that_is_neither(load, tmp_path):
    with pytest.raises(ValueError, match=r"must be a \.csv or a \.jsonl file"):
        load("ImageList", listed(tmp_path, [], "images.txt"), LIST="images.txt")
    (tmp_path / "images.csv").write_bytes(b"path,class\n\xff\xfe\x00")
    with pytest.raises(ValueError, match="cannot be read as UTF-8"):
        load("ImageList", tmp_path)


@pytest.mark.parametrize(("name", "counts"), [("ImageFolder", True), ("ImageList", True), ("EuroSAT", False)])
def test_another_root_is_another_run_where_the_root_is_the_data(name, counts):
    cfg = default_config()
    cfg.merge_from_list(["DATASET.NAME", name, "DATASET.ROOT", "here", "TRAINER.NAME", "CoOp"])
    stored = {"DATASET": {"NAME": name, "ROOT": "there"}, "TRAINER": {"NAME": "CoOp"}}
    assert differences(cfg, stored) == (["DATASET.ROOT: 'there' -> 'here'"] if counts else [])
