"""Few-shot samples: files that CoOp's code and ours read from each other, and pickles that must do nothing."""

import os
import pickle
import random
import shutil
import subprocess

import pytest
from dassl.data.datasets import Datum
from trees import NAMES, class_folders, plant

from datasets.fewshot import read_pickle


@pytest.fixture
def pets(load, tmp_path):
    """(root, sample's file) of a planted data set from which a sample was drawn."""
    load("OxfordPets", plant("OxfordPets", tmp_path / "data"))
    return tmp_path / "data", tmp_path / "data/oxford_pets/split_fewshot/shot_2-seed_1.pkl"


def rewrite(path, change):
    """Change the sample's file as another program would, by pickling plain Datum objects."""
    content = pickle.loads(path.read_bytes())
    change(content)
    path.write_bytes(pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL))


def test_ours_is_what_coop_reads(pets, load):
    """CoOp unpickles with no more ado and uses train and val as they are."""
    root, path = pets
    content = pickle.loads(path.read_bytes())
    assert set(content) == {"train", "val"}
    assert all(type(item) is Datum for items in content.values() for item in items)
    assert repr(content["train"]) == repr(load("OxfordPets", root).train_x)
    assert os.path.isabs(content["train"][0].impath)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))  # older ones, nobody writes by default
def test_coops_is_what_we_read(pets, load, protocol):
    root, path = pets
    whole = load("OxfordPets", root, shots=-1)
    chosen = {"train": whole.train_x[3::4] + whole.train_x[::4], "val": whole.val[::-1]}
    path.write_bytes(pickle.dumps(chosen, protocol=protocol))
    dataset = load("OxfordPets", root)
    assert repr(dataset.train_x) == repr(chosen["train"]) and repr(dataset.val) == repr(chosen["val"])


def test_a_data_root_may_move(pets, load, tmp_path):
    root, _ = pets
    before = load("OxfordPets", root).train_x
    shutil.move(root, tmp_path / "elsewhere")
    after = load("OxfordPets", tmp_path / "elsewhere").train_x
    assert [item.impath for item in after] == [item.impath.replace("/data/", "/elsewhere/") for item in before]
    assert all(os.path.isfile(item.impath) for item in after)


def test_paths_of_windows_are_understood(pets, load):
    root, path = pets
    before = load("OxfordPets", root).train_x

    def to_windows(content):
        for items in content.values():
            for item in items:
                item._impath = "D:\\data\\" + os.path.relpath(item.impath, root).replace("/", "\\")

    rewrite(path, to_windows)
    assert repr(load("OxfordPets", root).train_x) == repr(before)


def test_the_longest_known_ending_of_a_path_counts(load, tmp_path):
    """sun397/SUN397/a/abbey/x.jpg: not another image that is also called x.jpg."""
    plant("SUN397", tmp_path / "one")
    load("SUN397", tmp_path / "one")
    shutil.move(tmp_path / "one", tmp_path / "two")
    dataset = load("SUN397", tmp_path / "two")
    assert all(item.classname.split()[-1] in item.impath for item in dataset.train_x)


class Harm:
    """Creates a file when it is unpickled by anything that lets it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (subprocess.call, (["touch", str(self.path)],))


def state_of_class(attribute):
    """A pickle that sets an attribute of the class Datum instead of an object."""
    return b"\x80\x02cdassl.data.datasets.base_dataset\nDatum\nN}V" + attribute + b"\nV42\ns\x86b."


def test_a_pickle_executes_nothing(pets, load, tmp_path):
    root, path = pets
    rewrite(path, lambda content: content.update(more=[Harm(tmp_path / "harm")]))
    with pytest.raises(ValueError, match=r"shot_2-seed_1\.pkl was refused: it refers to subprocess\.call.*Delete it"):
        load("OxfordPets", root)
    assert not (tmp_path / "harm").exists()


def test_a_pickle_cannot_change_datum(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(state_of_class(b"impath"))
    with pytest.raises(ValueError, match="x.pkl was refused"):
        read_pickle(path)
    assert Datum("a").impath == "a"


def test_that_pickle_would_change_datum(monkeypatch):
    monkeypatch.setattr(Datum, "impath", Datum.impath)  # puts it back afterwards
    pickle.loads(state_of_class(b"impath"))
    assert Datum("a").impath == "42"


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"train": "no list"},
        {"train": [3]},
        {"train": [Datum("a", label=True)]},
        {"train": [Datum("a", classname=5)]},
        {"train": [os.getcwd]},
    ],
)
def test_a_pickle_of_another_form_is_refused(pets, load, content):
    root, path = pets
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"The file .*shot_2-seed_1\.pkl was refused: .* Delete it"):
        load("OxfordPets", root)


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_a_damaged_pickle_is_refused(pets, load, cut):
    root, path = pets
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="was refused: damaged"):
        load("OxfordPets", root)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: setattr(content["train"][0], "_impath", "/data/images/cat_1.jpg"), "the data set has not"),
        (lambda content: setattr(content["train"][0], "_label", 3), "with label 3, the data set has not"),
        (lambda content: content["train"].append(Datum("/a/images/Abyssinian_7.jpg", 0)), "the data set has not"),
        (lambda content: content.pop("val"), "its 'val' leaves out classes"),
        (lambda content: content["train"].__delitem__(slice(0, 2)), "its 'train' leaves out classes"),
    ],
    ids=["unknown image", "other label", "test image", "no val", "class left out"],
)
def test_a_sample_of_another_split_is_refused(pets, load, change, sentence):
    root, path = pets
    rewrite(path, change)
    with pytest.raises(ValueError, match=f"does not belong to the data set's lists: .*{sentence}.* Delete it"):
        load("OxfordPets", root)


def test_a_pickle_of_shared_lists_is_not_unfolded(tmp_path, bounded):
    """Hundred thousand names for one list of a hundred thousand images: 1.1 MB that stand for ten thousand million."""
    item, shared = Datum("a.jpg"), []
    shared.extend([item] * 100_000)
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({str(number): shared for number in range(100_000)}))
    assert path.stat().st_size < 1_500_000
    with bounded(20), pytest.raises(ValueError, match="x.pkl was refused: it holds something under '0'"):
        read_pickle(path)


def test_a_pickle_of_shared_attributes_is_not_unfolded(tmp_path, bounded):
    """Thirty thousand images that share one table of thirty thousand attributes."""
    state = {"_impath": "a.jpg", "_label": 0, **{f"a{number}": 0 for number in range(30_000)}}
    items = [Datum.__new__(Datum) for _ in range(30_000)]
    for item in items:
        item.__dict__ = state
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"train": items}))
    assert path.stat().st_size < 1_000_000
    with bounded(20):
        assert len(read_pickle(path)["train"]) == 30_000


def test_a_long_path_shared_by_many_is_looked_up_in_no_time(pets, load, bounded):
    root, path = pets
    item = Datum("/".join("a" * 2000), 0, classname="abyssinian")
    path.write_bytes(pickle.dumps({"train": [load("OxfordPets", root).train_x[0], *[item] * 100_000]}))
    with bounded(20), pytest.raises(ValueError, match="with label 0, the data set has not"):
        load("OxfordPets", root)
    item._impath *= 3
    path.write_bytes(pickle.dumps({"train": [item] * 100_000}))
    with bounded(20), pytest.raises(ValueError, match="has the path 'a/a/a.* that no list can have"):
        load("OxfordPets", root)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content, more: content["train"].append(more), r"its 'train' has 3 image\(s\) of label 0, where 2 are"),
        (lambda content, more: content["train"].pop(), r"its 'train' has 1 image\(s\) of label 3, where 2 are drawn"),
        (lambda content, more: content["train"].append(content["train"][0]), "its 'train' has an image twice"),
    ],
)
def test_a_sample_has_as_many_images_as_its_name_says(pets, load, change, sentence):
    root, path = pets
    used = {item.impath for item in load("OxfordPets", root).train_x}
    more = next(item for item in load("OxfordPets", root, shots=-1).train_x if item.impath not in used)
    rewrite(path, lambda content: change(content, more))
    with pytest.raises(ValueError, match=f"{sentence}.*Delete it"):
        load("OxfordPets", root)


def test_classes_with_fewer_images_than_shots_are_counted_and_said(load, tmp_path, capsys):
    for name, count in {"cat": 12, "dog": 40, "eel": 14}.items():
        for part, images in (("train", count), ("test", 1)):
            class_folders(tmp_path / part, [name], ".png", images)
    dataset = load("ImageFolder", tmp_path, shots=16)
    assert dataset.short_classes == {"cat": 12, "eel": 14} and len(dataset.train_x) == 42
    assert "2 of 3 classes have fewer than 16 images: 'cat' 12, 'eel' 14.\n" in capsys.readouterr().out
    assert load("ImageFolder", tmp_path, shots=12).short_classes == {}
    assert load("ImageFolder", tmp_path, shots=-1).short_classes == {}
    assert load("ImageFolder", tmp_path, shots=16, subset="new").short_classes == {"eel": 14}
    assert "fewer than" not in capsys.readouterr().out.replace("1 of 1 classes have fewer than 16 images: 'eel' 14", "")


def test_a_kept_sample_of_short_classes_is_counted_too(load, tmp_path, capsys):
    plant("OxfordPets", tmp_path)
    for _ in range(2):  # drawn, then read
        assert load("OxfordPets", tmp_path, shots=16).short_classes == dict.fromkeys(NAMES["OxfordPets"], 4)
        assert "4 of 4 classes have fewer than 16 images" in capsys.readouterr().out


def test_a_seed_draws_the_same_whatever_was_drawn_before(load, tmp_path):
    plant("OxfordPets", tmp_path)
    first = load("OxfordPets", tmp_path, seed=3)
    shutil.rmtree(tmp_path / "oxford_pets/split_fewshot")
    random.seed(8)
    again = load("OxfordPets", tmp_path, seed=3)
    assert repr(first.train_x) == repr(again.train_x)
    assert repr(first.train_x) != repr(load("OxfordPets", tmp_path, seed=4).train_x)


def test_drawing_and_reading_leave_the_same_random_numbers(load, tmp_path):
    plant("OxfordPets", tmp_path)
    after = []
    for _ in range(2):
        load("OxfordPets", tmp_path)
        after.append(random.random())
    assert after[0] == after[1]


def test_validation_has_at_most_four_of_a_class(load, tmp_path):
    whole = load("FGVCAircraft", plant("FGVCAircraft", tmp_path), shots=-1)
    dataset = load("FGVCAircraft", tmp_path, shots=16)
    assert len(dataset.train_x) == len(whole.train_x) and len(dataset.val) == len(
        whole.val
    )  # fewer than asked for: all
    assert len(load("FGVCAircraft", tmp_path, shots=1).val) == 4


def test_imagenet_keeps_train_only_and_its_list(load, tmp_path):
    first = load("ImageNet", plant("ImageNet", tmp_path))
    folder = tmp_path / "imagenet"
    assert set(pickle.loads((folder / "split_fewshot/shot_2-seed_1.pkl").read_bytes())) == {"train"}
    assert set(pickle.loads((folder / "preprocessed.pkl").read_bytes())) == {"train", "test"}
    assert first.val == first.test
    (tmp_path / "new").mkdir()
    shutil.move(folder, tmp_path / "new/imagenet")
    moved = load("ImageNet", tmp_path / "new")
    assert [item.impath for item in moved.test][0].startswith(str(tmp_path / "new"))
    assert [item.label for item in moved.train_x] == [item.label for item in first.train_x]


def test_imagenets_list_as_coop_left_it_is_used(load, tmp_path):
    """Its order is that of the file system there, and decides what a seed draws."""
    load("ImageNet", plant("ImageNet", tmp_path), shots=-1)
    rewrite(tmp_path / "imagenet/preprocessed.pkl", lambda content: content["train"].reverse())
    dataset = load("ImageNet", tmp_path, shots=-1)
    assert [item.label for item in dataset.train_x] == [3] * 8 + [2] * 8 + [1] * 8 + [0] * 8


def test_nothing_half_made_is_left(load, tmp_path, monkeypatch):
    plant("OxfordPets", tmp_path)
    load("OxfordPets", tmp_path, shots=-1)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    load("OxfordPets", tmp_path)
    assert os.listdir(tmp_path / "oxford_pets/split_fewshot") == []


def test_unknown_subset(load, tmp_path):
    with pytest.raises(ValueError, match="There is no class subset .* 'old'"):
        load("OxfordPets", plant("OxfordPets", tmp_path), subset="old")
