"""Split files: what is read, what is refused and with which sentence, and the two rules of making them."""

import json
import os
import random
import re
import shutil
import struct
import zlib

import numpy as np
import pytest
from dassl.data.datasets import Datum
from hypothesis import given
from hypothesis import strategies as st
from trees import plant, text

from datasets.matlab import read_matlab
from datasets.splits import read_split, split_by_folder, split_classes, split_trainval


def write(folder, train, val=(), test=None):
    """A split file of rows, with one test row unless given."""
    path = folder / "split.json"
    path.write_text(json.dumps({"train": train, "val": list(val), "test": train if test is None else test}))
    return path


def items(labels):
    return [Datum(f"{number}.jpg", label, classname=str(label)) for number, label in enumerate(labels)]


def test_names_of_all_scripts_and_any_order_of_labels(tmp_path, load):
    rows = [["b/ä ö.jpg", 1, "crème_brûlée (日本)"], ["a/x y.jpg", 0, "Sea or Lake"]]
    parts = read_split(write(tmp_path, rows), tmp_path / "images")
    assert parts["train"][0].impath == os.path.join(tmp_path, "images", "b/ä ö.jpg")
    assert [(item.label, item.classname) for item in parts["test"]] == [(row[1], row[2]) for row in rows]


@pytest.mark.parametrize("path", ["../x.jpg", "a/../../x.jpg", "/etc/passwd", "a/..", "", " ", "a\0.jpg", None, 3])
def test_a_path_stays_in_the_image_folder(tmp_path, path):
    with pytest.raises(
        ValueError, match=r"Entry 0 of 'train' in .*split\.json has the path .*(leads out|must be a path)"
    ):
        read_split(write(tmp_path, [[path, 0, "cat"]]), tmp_path)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (["a.jpg", -1, "cat"], "labels are whole numbers from 0"),
        (["a.jpg", "0", "cat"], "labels are whole numbers from 0"),
        (["a.jpg", True, "cat"], "labels are whole numbers from 0"),
        (["a.jpg", 0, ""], "must be a text that is not empty"),
        (["a.jpg", 0], r"not \[path, label, class name\]"),
        ({"path": "a.jpg"}, r"not \[path, label, class name\]"),
    ],
)
def test_an_entry_of_another_form_is_named(tmp_path, row, sentence):
    with pytest.raises(ValueError, match=f"Entry 1 of 'train' in .*{sentence}"):
        read_split(write(tmp_path, [["b.jpg", 0, "cat"], row]), tmp_path)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"train": [], "val": []}', '{"train": 3, "val": [], "test": []}', "[" * 99999]
)
def test_a_file_of_another_form_is_refused(tmp_path, content):
    path = tmp_path / "split.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"The split file .*split\.json (is not valid JSON|must hold three lists)"):
        read_split(path, tmp_path)


@pytest.mark.parametrize(
    ("train", "test", "sentence"),
    [
        ([], [["a.jpg", 0, "cat"]], "lists no image in 'train'"),
        ([["a.jpg", 0, "cat"]], [], "lists no image in 'test'"),
        ([["a.jpg", 1, "cat"]], [["b.jpg", 1, "cat"]], "no training image with label 0"),
        ([["a.jpg", 0, "cat"]], [["b.jpg", 1, "dog"]], r"no training image with label 1 \('dog'\)"),
        ([["a.jpg", 0, "cat"]], [["b.jpg", 0, "dog"]], "gives label 0 two class names, 'cat' and 'dog'"),
    ],
)
def test_lists_that_do_not_fit_together_are_refused(tmp_path, load, train, test, sentence):
    folder = tmp_path / "dtd"
    folder.mkdir()
    write(folder, train, test=test).rename(folder / "split_zhou_DescribableTextures.json")
    with pytest.raises(ValueError, match=sentence):
        load("DescribableTextures", tmp_path)


@pytest.mark.parametrize("label", [2, 30_000_000, 10**12, 10**400])
def test_labels_beyond_the_number_of_images(tmp_path, load, label, bounded):
    folder = tmp_path / "dtd"
    folder.mkdir()
    write(folder, [["a.jpg", 0, "cat"], ["b.jpg", label, "dog"]], test=[["c.jpg", 0, "cat"]]).rename(
        folder / "split_zhou_DescribableTextures.json"
    )
    with bounded(10), pytest.raises(ValueError, match="no training image with label 1; labels must run from 0"):
        load("DescribableTextures", tmp_path)


def test_labels_below_zero(tmp_path, load):
    text(plant("OxfordPets", tmp_path) / "oxford_pets/annotations/test.txt", "abyssinian_7 0 1 1")
    with pytest.raises(ValueError, match=r"has the label -1 \('abyssinian'\); labels count from 0"):
        load("OxfordPets", tmp_path)


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_a_list_that_stands_twice_in_a_split_file(tmp_path, name):
    """JSON readers keep the last one, and the images of the first would be lost."""
    path = write(tmp_path, [["a.jpg", 0, "cat"]])
    path.write_text(path.read_text()[:-1] + f', "{name}": [["b.jpg", 0, "cat"]]}}')
    with pytest.raises(ValueError, match=f"split.json is not valid JSON .*the key '{name}' stands in it twice"):
        read_split(path, tmp_path)


def test_a_list_under_another_name_in_a_split_file(tmp_path):
    path = write(tmp_path, [["a.jpg", 0, "cat"]])
    path.write_text(path.read_text()[:-1] + ', "tset": [["b.jpg", 0, "cat"]]}')
    with pytest.raises(ValueError, match="split.json has something else: There is no list 'tset': did you mean 'test'"):
        read_split(path, tmp_path)


def test_a_file_of_brackets_is_not_built(tmp_path, bounded):
    (tmp_path / "split.json").write_text('{"train": [' + "[]," * 12_000_000 + '[]], "val": [], "test": []}')
    with bounded(20), pytest.raises(ValueError, match="split.json is not valid JSON of this kind"):
        read_split(tmp_path / "split.json", tmp_path)


def test_matlab_files_that_unfold(tmp_path, bounded):
    """Two megabytes of file, two gigabytes of zeros."""
    from scipy.io import savemat

    path = tmp_path / "labels.mat"
    savemat(path, {"labels": [[1, 2]]})
    packer = zlib.compressobj()
    packed = b"".join(packer.compress(bytes(2**24)) for _ in range(128)) + packer.flush()
    path.write_bytes(path.read_bytes()[:128] + struct.pack("<II", 15, len(packed)) + packed)
    with bounded(20), pytest.raises(ValueError, match="labels.mat cannot be read .*more than 30 times its size"):
        read_matlab(path, "labels")


@pytest.mark.parametrize("compress", [False, True])
def test_matlab_files_are_read_as_scipy_reads_them(tmp_path, compress):
    from scipy.io import loadmat, savemat

    kinds = ("uint8", "int8", "uint16", "int32", "int64", "float32", "float64")
    rows = np.empty((1, 3), dtype=[("bbox", object), ("class", object), ("fname", object)])
    for n, name in enumerate(["00001.jpg", "ä ö.jpg", "x"]):
        rows[0, n] = (np.array([[n, 2.5]]), n + 1, name)
    content = {kind: np.arange(40, dtype=kind)[None] for kind in kinds}
    content |= {"names": np.array([["red fox", "Čapek", ""]], dtype=object), "rows": rows}
    path = tmp_path / "all.mat"
    savemat(path, content, do_compression=compress)
    theirs = loadmat(path)
    for kind in kinds:
        assert read_matlab(path, kind) == theirs[kind].reshape(-1).tolist()
    assert read_matlab(path, "names") == ["red fox", "Čapek", ""]
    for ours, row in zip(read_matlab(path, "rows"), theirs["rows"].reshape(-1), strict=True):
        assert ours["bbox"] == row["bbox"].reshape(-1).tolist() and ours["class"] == [row["class"][0, 0]]
        assert ours["fname"] == row["fname"][0]


@pytest.mark.parametrize("label", [0, 5, 1.5, float("inf"), float("nan")])
def test_labels_of_matlab_files_are_whole_and_known(load, tmp_path, label):
    from scipy.io import savemat

    rows = np.empty((1, 1), dtype=[("class", object), ("fname", object)])
    rows[0, 0] = (label, "00001.jpg")
    savemat(plant("StanfordCars", tmp_path) / "stanford_cars/cars_test_annos_withlabels.mat", {"annotations": rows})
    with pytest.raises(ValueError, match=r"withlabels.mat has the label .*, but .*cars_meta.mat names 4 classes"):
        load("StanfordCars", tmp_path)
    savemat(plant("OxfordFlowers", tmp_path) / "oxford_flowers/imagelabels.mat", {"labels": [[1.0] * 5 + [label]]})
    with pytest.raises(ValueError, match="cat_to_name.json does not know"):
        load("OxfordFlowers", tmp_path)


def test_killed_writers_leave_no_pile(load, tmp_path):
    """Parts of a split and of a sample, as killed processes of this version and the one before leave them."""
    plant("EuroSAT", tmp_path)
    folder = tmp_path / "eurosat"
    for _ in range(3):
        process = os.fork()
        if process == 0:
            os.replace = lambda *args: os.kill(os.getpid(), 9)
            try:
                load("EuroSAT", tmp_path)
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -9
        assert len(list(folder.rglob(".*.part"))) == 1
    (folder / ".split_zhou_EuroSAT.json.a1b2c3d4.part").write_text("half")
    load("EuroSAT", tmp_path)
    assert not list(folder.rglob(".*.part"))


def test_rule_p_is_the_familys(tmp_path):
    """Written out: shuffle the sorted listing of each sorted class, cut at round(n / 2) and round(n / 5)."""
    plant("Caltech101", tmp_path)
    images = tmp_path / "caltech-101" / "101_ObjectCategories"
    random.seed(1)
    parts = split_by_folder(images, {"airplanes": "airplane"}, ("BACKGROUND_Google", "Faces_easy"))
    random.seed(1)
    for label, folder in enumerate(["Faces", "Leopards", "accordion", "airplanes"]):
        expected = [str(images / folder / name) for name in sorted(os.listdir(images / folder))]
        random.shuffle(expected)
        got = [[item.impath for item in parts[part] if item.label == label] for part in ("train", "val", "test")]
        assert got == [expected[:4], expected[4:6], expected[6:]]
    assert {item.classname for item in parts["train"]} == {"Faces", "Leopards", "accordion", "airplane"}


def test_rule_t_is_the_familys():
    trainval = items([2, 0, 2, 0, 2, 0, 2, 0, 2, 0])
    random.seed(5)
    train, val = split_trainval(trainval)
    random.seed(5)
    for label in (2, 0):  # in order of first appearance
        group = [item for item in trainval if item.label == label]
        random.shuffle(group)
        assert [item for item in val if item.label == label] == group[:1]
        assert [item for item in train if item.label == label] == group[1:]


@given(st.lists(st.integers(4, 40), min_size=1, max_size=6))
def test_rule_p_uses_every_image_once(sizes):
    classes = [[Datum(f"{label}/{number}", label) for number in range(size)] for label, size in enumerate(sizes)]
    parts = split_classes(classes)
    paths = [item.impath for part in parts.values() for item in part]
    assert sorted(paths) == sorted(item.impath for items in classes for item in items)
    for part in parts.values():
        assert {item.label for item in part} == set(range(len(sizes)))


def test_classes_too_small_to_split_are_named():
    with pytest.raises(ValueError, match=r"The class '7' has 3 image\(s\); .* at least 4"):
        split_classes([items([7] * 3)])
    with pytest.raises(ValueError, match=r"The class '7' has 2 image\(s\).* at least 3"):
        split_trainval(items([7] * 2))


def test_a_split_is_the_same_whichever_seed_makes_it(load, tmp_path):
    one, two = (load("EuroSAT", plant("EuroSAT", tmp_path / str(seed)), shots=-1, seed=seed) for seed in (1, 2))
    files = [(tmp_path / str(seed) / "eurosat" / "split_zhou_EuroSAT.json").read_text() for seed in (1, 2)]
    assert files[0] == files[1]
    assert len(one.train_x) == len(two.train_x)


def test_making_a_split_does_not_change_what_comes_after(load, tmp_path):
    plant("EuroSAT", tmp_path)
    load("EuroSAT", tmp_path)
    after_making = random.random()
    load("EuroSAT", tmp_path)
    assert random.random() == after_making


def test_a_data_root_that_cannot_be_written_to_costs_one_line(load, tmp_path, monkeypatch, capsys):
    plant("EuroSAT", tmp_path)
    first = load("EuroSAT", tmp_path)
    for path in ("split_zhou_EuroSAT.json", "split_fewshot"):
        target = tmp_path / "eurosat" / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    def refuse(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.fsync", refuse)
    capsys.readouterr()
    again = load("EuroSAT", tmp_path)
    lines = [line for line in capsys.readouterr().out.splitlines() if "Read-only file system" in line]
    assert len(lines) == 2 and "split could not be saved" in lines[0] and "sample could not be kept" in lines[1]
    assert repr(again.train_x) == repr(first.train_x)


def test_the_first_to_make_a_split_wins(load, tmp_path, monkeypatch):
    """Another process saves its split while ours is being made: both go on with that one."""
    plant("EuroSAT", tmp_path)
    path = tmp_path / "eurosat" / "split_zhou_EuroSAT.json"
    cls = type(load("EuroSAT", plant("EuroSAT", tmp_path / "other"), shots=-1))
    make = cls.make_parts

    def slowly(self):
        parts = make(self)
        theirs = json.loads((tmp_path / "other/eurosat/split_zhou_EuroSAT.json").read_text())
        theirs["train"], theirs["test"] = theirs["test"], theirs["train"]
        path.write_text(json.dumps(theirs))
        return parts

    monkeypatch.setattr(cls, "make_parts", slowly)
    dataset = load("EuroSAT", tmp_path, shots=-1)
    assert (len(dataset.train_x), len(dataset.test)) == (8, 16)


@pytest.mark.parametrize(
    ("name", "remove", "sentence"),
    [
        (
            "OxfordPets",
            "oxford_pets",
            r"there is no .*/oxford_pets\. Expected in .*/oxford_pets: images/\*\.jpg, split",
        ),
        ("OxfordPets", "oxford_pets/images", r"there is no .*/oxford_pets/images\. Expected"),
        ("OxfordPets", "oxford_pets/annotations/test.txt", r"there is no .*annotations/test\.txt\. Expected"),
        ("ImageNet", "imagenet/classnames.txt", r"there is no .*classnames\.txt\. Expected in .*images/train/n\*"),
        (
            "ImageNetV2",
            "imagenetv2/imagenetv2-matched-frequency-format-val/3",
            r"there is no .*-val/3\. Expected",
        ),
        ("UCF101", "ucf101/ucfTrainTestlist", r"there is no .*trainlist01\.txt\. Expected"),
        ("StanfordCars", "stanford_cars/devkit/cars_meta.mat", r"there is no .*cars_meta\.mat\. Expected"),
    ],
)
def test_what_is_missing_is_named_with_the_layout_and_the_next_command(name, remove, sentence, load, tmp_path):
    target = plant(name, tmp_path) / remove
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    with pytest.raises(FileNotFoundError, match=f"{name}: {sentence}.*Next: python -m datasets.prepare fetch {name}"):
        load(name, tmp_path)


def test_lists_can_be_read_without_the_images(load, tmp_path, capsys):
    first = load("OxfordPets", plant("OxfordPets", tmp_path))
    shutil.rmtree(tmp_path / "oxford_pets/images")
    again = load("OxfordPets", tmp_path)
    assert repr(first.test) == repr(again.test)
    said = capsys.readouterr().out
    assert re.search(
        r"Warning: OxfordPets: there is no .*/images\. Expected in .*Next: python -m datasets.prepare", said
    )


def test_a_data_root_is_asked_for(load):
    with pytest.raises(FileNotFoundError, match=r"OxfordPets needs a data root .*--root.*Expected in <root>/ox"):
        load("OxfordPets", "")


@pytest.mark.parametrize(
    ("name", "file", "lines", "sentence"),
    [
        ("OxfordPets", "oxford_pets/annotations/test.txt", ["Abyssinian_1"], "A line of .*test.txt is 'Abyssinian_1'"),
        ("OxfordPets", "oxford_pets/annotations/test.txt", ["Abyssinian_1 one 1"], "'one' where a label"),
        ("OxfordPets", "oxford_pets/annotations/test.txt", ["../Abyssinian_1 1 1"], "leads out"),
        (
            "FGVCAircraft",
            "fgvc_aircraft/images_variant_val.txt",
            ["1 Concorde"],
            "does not know 'Concorde'",
        ),
        ("SUN397", "sun397/Testing_01.txt", ["/q/quay/1.jpg"], "ClassName.txt does not know 'q/quay'"),
        ("UCF101", "ucf101/ucfTrainTestlist/testlist01.txt", ["Bowling/v.avi"], "does not know 'Bowling'"),
        ("ImageNet", "imagenet/classnames.txt", ["n01440764 tench"], "classnames.txt does not know 'n01443537'"),
        ("StanfordCars", "stanford_cars/devkit/cars_meta.mat", ["broken"], "cannot be read as a MATLAB file"),
        ("OxfordFlowers", "oxford_flowers/cat_to_name.json", ['["rose"]'], "must hold names by key"),
    ],
)
def test_damaged_lists_are_named(name, file, lines, sentence, load, tmp_path):
    text(plant(name, tmp_path) / file, *lines)
    with pytest.raises(ValueError, match=sentence):
        load(name, tmp_path)


def test_imagenets_folders_must_agree(load, tmp_path):
    shutil.rmtree(plant("ImageNet", tmp_path) / "imagenet/images/val/n01440764")
    with pytest.raises(ValueError, match="hold different class folders"):
        load("ImageNet", tmp_path)
