"""Lists from which no honest number comes: names that are one, images listed twice, links that lead nowhere."""

import json
import os
import re
import shutil

import pytest
from dassl.data.datasets import DATASET_REGISTRY
from trees import NAMES, class_folders, image, plant, text

from datasets.base import SplitDataset

PARTS = ("train", "val", "test")


def folders(root, names=("cat", "dog"), parts=PARTS):
    for number, part in enumerate(parts):
        for colour, name in enumerate(names):
            for k in range(3):
                image(root / part / name / f"{part}_{k}.png", 10 * number + colour)
    return root


def listed(root, *rows):
    for path in {row[0] for row in rows}:
        if not (root / path).exists():
            image(root / path)
    text(root / "images.csv", "path,class,split", *(",".join(row) for row in rows))
    return root


# ---- class names ----


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cat", "cat"),
        ("big cat", "big_cat"),
        ("big_Cat", "Big  cat"),
        ("caf\u00e9", "cafe\u0301"),
        ("_cat", "cat"),
        ("\ufb01sh", "fish"),
        ("black &amp; white", "black & white"),
        ("painter\u2019s brush", "painter's brush"),
    ],
)
def test_two_names_that_read_the_same(load, tmp_path, one, other):
    sentence = "has two classes, .*, that CLIP reads as the same name"
    with pytest.raises(ValueError, match=sentence):
        load("ImageFolder", folders(tmp_path / "folders", (one, other)))
    rows = [(f"{part}/{n}.png", name, part) for n, name in enumerate((one, other)) for part in ("train", "test")]
    with pytest.raises(ValueError, match=sentence):
        load("ImageList", listed(tmp_path / "list", *rows))
    text(folders(tmp_path / "named") / "classnames.json", json.dumps({"cat": one, "dog": other}))
    with pytest.raises(ValueError, match=sentence):
        load("ImageFolder", tmp_path / "named")
    for name in (one, other):
        class_folders(tmp_path / "undivided", [name], ".png", 10)
    with pytest.raises(ValueError, match=sentence):
        load("ImageFolder", tmp_path / "undivided")


@pytest.mark.parametrize("name", ["_", b"caf\xe9"])
def test_a_name_that_cannot_be_read(load, tmp_path, name):
    root = folders(tmp_path, ("cat", os.fsdecode(name)))
    with pytest.raises(ValueError, match="has the class name .*, which cannot be read as text; give it another"):
        load("ImageFolder", root)
    text(root / "classnames.json", json.dumps({os.fsdecode(name): "café"}))
    assert load("ImageFolder", root).classnames == (["café", "cat"] if name == "_" else ["café", "cat"])


def test_a_file_name_that_is_no_text_is_kept_in_a_split(load, tmp_path):
    class_folders(tmp_path, ["a", "b"], ".png", 8)
    os.rename(tmp_path / "a/a_0.png", os.path.join(os.fsencode(tmp_path), b"a/\xff.png"))
    paths = [{item.impath for item in load("ImageFolder", tmp_path, shots=-1).test} for _ in range(2)]
    assert paths[0] == paths[1]


def test_imagenets_own_names_are_as_they_were_published(load, tmp_path):
    """Two of its classes are called missile."""
    plant("ImageNet", tmp_path)
    path = tmp_path / "imagenet/classnames.txt"
    path.write_text(path.read_text().replace("goldfish", "tench"))
    assert load("ImageNet", tmp_path).classnames[:2] == ["tench", "tench"]


# ---- images ----

TWICE = [
    ([("a.png", "cat", "train"), ("a.png", "dog", "train")], "in 'train' as 'cat', in 'train' as 'dog'"),
    ([("a.png", "cat", "train"), ("a.png", "cat", "test")], "in 'train' as 'cat', in 'test' as 'cat'"),
    ([("a.png", "cat", "val"), ("a.png", "cat", "test")], "in 'val' as 'cat', in 'test' as 'cat'"),
    ([("a.png", "cat", "test"), ("a.png", "cat", "test")], "in 'test' as 'cat', in 'test' as 'cat'"),
    ([("a.png", "cat", "train"), ("./a.png", "cat", "test")], "in 'train' as 'cat', in 'test' as 'cat'"),
    ([("a.png", "cat", "train"), ("b/../a.png", "cat", "test")], "leads out"),
    ([("c/a.png", "cat", "train"), ("c//a.png", "cat", "test")], "in 'train' as 'cat', in 'test' as 'cat'"),
]


@pytest.mark.parametrize(("rows", "sentence"), TWICE)
def test_a_list_with_an_image_twice(load, tmp_path, rows, sentence):
    good = [("1.png", "cat", "train"), ("2.png", "dog", "train"), ("3.png", "cat", "test")]
    with pytest.raises(ValueError, match=sentence):
        load("ImageList", listed(tmp_path, *good, *rows))


def test_an_undivided_list_with_an_image_twice(load, tmp_path):
    rows = [f"{name}{n}.png,{name}" for name in ("cat", "dog") for n in range(6)]
    for row in rows:
        image(tmp_path / row.split(",")[0])
    text(tmp_path / "images.csv", "path,class", *rows, "cat0.png,dog")
    with pytest.raises(ValueError, match="cat0.png twice: .* as 'cat', .* as 'dog'|cat0.png twice: .*'dog', .*'cat'"):
        load("ImageList", tmp_path)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_two_paths_to_one_file(load, tmp_path, link):
    """A folder of links to one's images, as tools that divide a set make them."""
    folders(tmp_path / "folders")
    link(tmp_path / "folders/train/cat/train_0.png", tmp_path / "folders/test/cat/more.png")
    with pytest.raises(ValueError, match=r"the same file: in 'train' as 'cat', in 'test' as 'cat'"):
        load("ImageFolder", tmp_path / "folders")
    root = listed(tmp_path / "list", ("1.png", "cat", "train"), ("2.png", "dog", "train"), ("3.png", "cat", "test"))
    link(root / "2.png", root / "4.png")
    with pytest.raises(ValueError, match=r"2.png, the same file: in 'train' as 'dog', in 'test' as 'cat'"):
        load("ImageList", listed(root, *[row.split(",") for row in (root / "images.csv").read_text().split()[1:]],
                                 ("4.png", "cat", "test")))  # fmt: skip


def test_links_to_images_elsewhere_are_fine(load, tmp_path):
    folders(tmp_path / "real")
    shutil.copytree(tmp_path / "real", tmp_path / "linked", copy_function=os.symlink)
    assert len(load("ImageFolder", tmp_path / "linked", shots=-1).test) == 6


@pytest.mark.parametrize("name", ["OxfordPets", "EuroSAT", "StanfordCars"])
def test_a_split_file_with_an_image_in_train_and_test(load, tmp_path, name):
    made = load(name, plant(name, tmp_path))
    path = made.folder / made.split_file
    content = json.loads(path.read_text())
    content["test"].append(content["train"][0])
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"split_zhou_\w+\.json lists .* twice: in 'train' as .*, in 'test' as"):
        load(name, tmp_path)


def test_a_published_split_that_repeats_a_line_is_as_it_was_published(load, tmp_path):
    made = load("EuroSAT", plant("EuroSAT", tmp_path), shots=-1)
    path = made.folder / made.split_file
    content = json.loads(path.read_text())
    content["train"].append(content["train"][0])
    path.write_text(json.dumps(content))
    assert len(load("EuroSAT", tmp_path, shots=-1).train_x) == len(made.train_x) + 1


@pytest.mark.parametrize("name", ["EmojiNet", "EmojiNetMono"])
def test_the_embedded_sets_hold_to_it(load, name):
    assert DATASET_REGISTRY.get(name).facts is None  # so that nothing is passed over
    assert load(name).test


# ---- what is not there ----


def dangle(path):
    path.unlink(missing_ok=True)
    path.symlink_to("../.git/annex/objects/not-fetched")


def test_links_that_lead_nowhere_are_counted(load, tmp_path):
    folders(tmp_path)
    for name, k in (("cat", 0), ("cat", 1), ("dog", 0), ("dog", 1)):
        dangle(tmp_path / "test" / name / f"test_{k}.png")
    with pytest.raises(
        FileNotFoundError, match=r"4 link\(s\) in .* are not there: test/cat/test_0.png, .* and 1 more.*git annex get"
    ):
        load("ImageFolder", tmp_path)


@pytest.mark.parametrize("what", ["val", "test/dog", "train/dog", "classnames.json"])
def test_a_folder_or_file_that_is_such_a_link(load, tmp_path, what):
    folders(tmp_path)
    if (tmp_path / what).is_dir():
        shutil.rmtree(tmp_path / what)
    dangle(tmp_path / what)
    with pytest.raises(FileNotFoundError, match=rf"1 link\(s\) in .*: {what.split('/')[-1]}\."):
        load("ImageFolder", tmp_path)


def test_links_in_a_circle(load, tmp_path):
    folders(tmp_path)
    (tmp_path / "test/cat/a.png").symlink_to("b.png")
    (tmp_path / "test/cat/b.png").symlink_to("a.png")
    with pytest.raises(FileNotFoundError, match=r"2 link\(s\)"):
        load("ImageFolder", tmp_path)


@pytest.mark.parametrize("name", ["Caltech101", "ImageNet", "ImageNetV2", "ImageNetA"])
def test_published_sets_are_listed_with_care_too(load, tmp_path, name):
    plant(name, tmp_path)
    dangle(
        next(
            path
            for path in sorted(tmp_path.rglob("*.[jJ]*"))
            if "Faces_easy" not in path.parent.name and "BACK" not in path.parent.name
        )
    )
    with pytest.raises(FileNotFoundError, match=r"1 link\(s\) in"):
        load(name, tmp_path)


@pytest.mark.parametrize("file", ["split_zhou_EuroSAT.json", "split_fewshot/shot_2-seed_1.pkl"])
def test_a_split_or_sample_that_is_such_a_link_is_not_made_anew(load, tmp_path, file):
    load("EuroSAT", plant("EuroSAT", tmp_path))
    dangle(tmp_path / "eurosat" / file)
    with pytest.raises(FileNotFoundError, match=r"1 link\(s\) in"):
        load("EuroSAT", tmp_path)


def test_imagenets_list_that_is_such_a_link_is_not_made_anew(load, tmp_path):
    dangle(plant("ImageNet", tmp_path) / "imagenet/preprocessed.pkl")
    with pytest.raises(FileNotFoundError, match=r"1 link\(s\) in"):
        load("ImageNet", tmp_path)


def test_images_of_a_list_that_are_not_there_are_counted(load, tmp_path):
    rows = [(f"{name}{n}.png", name, part) for name in ("cat", "dog") for n, part in enumerate(("train", "test"))]
    listed(tmp_path, *rows)
    (tmp_path / "cat1.png").unlink()
    dangle(tmp_path / "dog1.png")
    with pytest.raises(
        FileNotFoundError, match=r"2 of the 4 images that .* lists are not there: .*cat1.png, .*dog1.png"
    ):
        load("ImageList", tmp_path)


def test_images_that_went_after_they_were_divided(load, tmp_path):
    class_folders(tmp_path, ["a", "b"], ".png", 10)
    gone = load("ImageFolder", tmp_path, shots=-1).test[-1].impath
    os.unlink(gone)
    with pytest.raises(FileNotFoundError, match="1 of the 20 images"):
        load("ImageFolder", tmp_path)


@pytest.mark.parametrize("what", ["train", "test/cat"])
def test_a_folder_that_cannot_be_read(load, tmp_path, monkeypatch, what):
    folders(tmp_path)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path / what) and access(path, mode))
    with pytest.raises(OSError, match=f"The folder {tmp_path / what} cannot be read; give this user the right"):
        load("ImageFolder", tmp_path)


def test_a_list_of_folders_under_another_name(load, tmp_path):
    with pytest.raises(ValueError, match="/Val has class folders as train has, .*did you mean 'val'"):
        load("ImageFolder", folders(tmp_path, parts=("train", "Val", "test")))


def test_ones_own_data_set_holds_to_it(load, tmp_path, monkeypatch):
    class Stones(SplitDataset):
        dataset_dir = "stones"
        split_file = "split_zhou_Stones.json"

    monkeypatch.setitem(DATASET_REGISTRY._obj_map, "Stones", Stones)
    rows = [["a.jpg", 0, "Flint"], ["b.jpg", 1, "flint"]]
    (tmp_path / "stones").mkdir()
    (tmp_path / "stones/split_zhou_Stones.json").write_text(json.dumps({"train": rows, "val": [], "test": rows[:1]}))
    with pytest.raises(ValueError, match="that CLIP reads as the same name"):
        load("Stones", tmp_path)
    rows[1][2] = "slate"
    (tmp_path / "stones/split_zhou_Stones.json").write_text(json.dumps({"train": rows, "val": [], "test": rows[:1]}))
    with pytest.raises(ValueError, match="twice: in 'train' as 'Flint', in 'test' as 'Flint'"):
        load("Stones", tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_no_planted_set_is_refused(load, tmp_path, name):
    assert load(name, plant(name, tmp_path)).label == name


def test_what_else_lies_in_class_folders_is_told(load, tmp_path, capsys):
    folders(tmp_path)
    for name in ("train/cat/a.heic", "train/cat/more/b.png", "val/dog/notes.txt", "test/dog/.hidden"):
        text(tmp_path / name)
    load("ImageFolder", tmp_path)
    sentence = (
        "Not used are 3 files or folders .* not those of images: train/cat/a.heic, train/cat/more, val/dog/notes.txt"
    )
    assert re.search(sentence, capsys.readouterr().out)
