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
    assert dataset_template("ImageFolder", dataset.cfg.DATASET.TEMPLATE) == "a cup of {}."
    assert dataset_template("ImageFolder", load("ImageFolder", tmp_path).cfg.DATASET.TEMPLATE) == "a photo of a {}."


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
            r"images\.csv, line 2: There is no split 'tarin': did you mean 'train'",
        ),
        ("images.csv", as_csv([("a.jpg", "", "train")]), "line 2: 'class' is empty"),
        ("images.csv", as_csv([("../a.jpg", "cat", "train")]), "line 2 has the path '../a.jpg', which leads out"),
        ("images.csv", as_csv([*ROWS, ("a.jpg", "z", "")]), "line 10: 'split' is empty; .* leave split out"),
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


# ---- columns ----

UNKNOWN = [
    ("path,class,Split", "'Split', .* call it 'split'"),
    ("path,class,set", "'set', .* call it 'split'"),
    ("path,class,spilt", "'spilt', .* call it 'split'"),
    ("path,class,fold", "'fold', .* call it 'split'"),
    ("path,class,subset ", "'subset', .* call it 'split'"),
    ("path,class,split,weight", "'weight', which is not known: take it out"),
    ("path,Class,split", "'Class', .* call it 'class'"),
    ("image,class,split", "'image', .* call it 'path'"),
    ("path,class,", "has the column '', "),
    ("path,class,class", "has the column 'class' twice"),
]


@pytest.mark.parametrize(("header", "sentence"), UNKNOWN)
def test_columns_that_are_not_known_are_named(load, tmp_path, header, sentence):
    """Dropped, they would have test images trained on."""
    rows = [[*row, "x"][: len(header.split(","))] for row in ROWS]
    with pytest.raises(ValueError, match=f"images.csv has the column {sentence.removeprefix('has the column ')}"):
        load("ImageList", listed(tmp_path, as_csv(rows, header)))
    (tmp_path / "images.csv").unlink()
    keys = [key.strip() for key in header.split(",")]
    lines = ["{" + ", ".join(f'"{key}": "{value}"' for key, value in zip(keys, row, strict=True)) + "}" for row in rows]
    with pytest.raises(ValueError, match="images.jsonl, line 1 (has the column|is not valid JSON .* twice)"):
        load("ImageList", listed(tmp_path, lines, "images.jsonl"))


@pytest.mark.parametrize("line", [0, 3])
def test_one_odd_line_of_a_list(load, tmp_path, line):
    lines = as_json(ROWS)
    lines[line] = lines[line].replace('"split"', '"Split"')
    with pytest.raises(ValueError, match=f"line {line + 1} has the column 'Split', .* call it 'split'"):
        load("ImageList", listed(tmp_path, lines, "images.jsonl"))


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (as_csv(ROWS, "path,class"), r"line 2: it has 3 field\(s\), where the first line names 2"),
        (as_csv([row[:2] for row in ROWS]), r"line 2: it has 2 field\(s\), where the first line names 3"),
        (as_csv([(*row[:2], "") for row in ROWS]), "line 2: 'split' is empty; .*or leave split out"),
        (as_csv([*ROWS, ("b.png", '"z', "train")]), "cannot be read as UTF-8 text with rows"),
        (as_csv([*ROWS, ("b.png", '"z\ny"', "train")]), "'class' is 'z\\\\ny'; it must be a text in one line"),
        (as_csv([(*row[:2], row[2].upper()) for row in ROWS]), "There is no split 'TRAIN': did you mean 'train'"),
    ],
)
def test_rows_from_which_something_would_be_lost(load, tmp_path, lines, sentence):
    with pytest.raises(ValueError, match=sentence):
        load("ImageList", listed(tmp_path, lines))


def test_a_key_that_stands_twice_in_a_line(load, tmp_path):
    lines = as_json(ROWS)
    lines[1] = lines[1][:-1] + ', "split": "test"}'
    with pytest.raises(ValueError, match="line 2 is not valid JSON .*the key 'split' stands in it twice"):
        load("ImageList", listed(tmp_path, lines, "images.jsonl"))


def test_two_lists_are_one_too_many(load, tmp_path):
    listed(listed(tmp_path, as_csv(ROWS)), as_json(ROWS[:-1]), "images.jsonl")
    with pytest.raises(ValueError, match="name the one to read with DATASET.LIST"):
        load("ImageList", tmp_path)
    assert len(load("ImageList", tmp_path, LIST="images.jsonl", shots=-1).test) == 3


# ---- names and places ----


@pytest.fixture
def at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_tilde_that_the_shell_did_not_see(load, at_home):
    three_parts(at_home / "mine")
    assert load("ImageFolder", "~/mine").label == "mine"
    listed(at_home / "listed", as_csv(ROWS), "../list.csv")
    assert load("ImageList", "~/listed", LIST="~/list.csv").label == "list"


def test_ones_own_images_have_a_name(load, tmp_path):
    assert load("ImageFolder", three_parts(tmp_path / "coffee")).label == "coffee"
    assert load("ImageFolder", tmp_path / "coffee", LABEL="Coffee of 2024").label == "Coffee of 2024"
    listed(tmp_path / "letters", as_csv(ROWS))
    assert load("ImageList", tmp_path / "letters").label == "letters"
    (tmp_path / "letters/images.csv").rename(tmp_path / "letters/greek.csv")
    assert load("ImageList", tmp_path / "letters", LIST="greek.csv").label == "greek"
    assert load("EmojiNet").label == "EmojiNet"


@pytest.mark.parametrize("name", ["EuroSAT", "eurosat", "food_101", "oxford-pets", "EmojiNet", "dtd"])
def test_ones_own_images_never_have_a_published_name(load, tmp_path, name):
    assert load("ImageFolder", three_parts(tmp_path / name)).label == f"{name}-ImageFolder"
    with pytest.raises(ValueError, match=f"DATASET.LABEL .*'{name}' is another data set. Choose another"):
        load("ImageFolder", tmp_path / name, LABEL=name)


@pytest.mark.parametrize("label", ["a/b", "..", ".", "a\nb", " a", "x" * 200, "a\\b"])
def test_a_label_is_the_name_of_a_folder(load, tmp_path, label):
    with pytest.raises(ValueError, match="DATASET.LABEL must be a name .* cannot be the name of a folder"):
        load("ImageFolder", three_parts(tmp_path), LABEL=label)


def test_keys_that_a_data_set_has_no_use_for_are_refused(load, tmp_path):
    with pytest.raises(ValueError, match="EmojiNet has its name; DATASET.LABEL is for images of your own"):
        load("EmojiNet", LABEL="smileys")
    with pytest.raises(ValueError, match="ImageFolder reads no list; take DATASET.LIST out, or use ImageList"):
        load("ImageFolder", three_parts(tmp_path), LIST="images.csv")
