"""`list`, `check` and `show`: what a user reads about each fault of a tree."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys

import pytest
from dassl.data.datasets import DATASET_REGISTRY
from PIL import Image
from trees import NAMES, class_folders, image, plant, text

import datasets

REPOSITORY = os.path.dirname(os.path.dirname(datasets.__file__))


@pytest.fixture
def small(monkeypatch):
    """The tiny trees pass as what was published: their sizes are."""

    def shrink(name, *sizes):
        cls = DATASET_REGISTRY.get(name)
        values = dict(zip(("classes", "train", "val", "test"), sizes, strict=True))
        monkeypatch.setattr(cls, "facts", type(cls.facts)(**{**vars(cls.facts), **values}))

    return shrink


@pytest.fixture
def pets(small, load, tmp_path):
    """A tree of OxfordPets with its split file, in order."""
    small("OxfordPets", 4, 16, 4, 12)
    load("OxfordPets", plant("OxfordPets", tmp_path))
    return tmp_path


def edit(root, change):
    path = root / "oxford_pets/split_zhou_OxfordPets.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_tree_in_order(prepare, pets):
    before = sorted(pets.rglob("*"))
    code, said, errors = prepare("check", "oxford_pets", "--root", pets, "--classes")
    assert (code, errors) == (0, "")
    for line in [
        "OxfordPets: fine",
        "train: 16 images, 4 to 4 per class",
        "val: 4 images, 1 to 1 per class",
        "test: 12 images, 3 to 3 per class",
        "classes: 4",
        "1 american_bulldog: train 4, val 1, test 3",
        "labels and class names agree with the publisher's files",
        "all 32 images can be read",
    ]:
        assert f"  {line}\n" in f"  {said}", line
    assert sorted(pets.rglob("*")) == before  # looking changes nothing


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_can_be_checked(prepare, name, tmp_path):
    code, said, _ = prepare("check", name, "--root", plant(name, tmp_path))
    assert code == 1  # far too small
    assert f"There are {len(NAMES[name])} classes, {DATASET_REGISTRY.get(name).facts.classes} are published" in said
    assert "images can be read" in said and "missing" not in said
    assert f"Next: python -m datasets.prepare fetch {name} --root {tmp_path}" in said
    assert not list(tmp_path.rglob("split*.json"))


def missing_images(root):
    for number in range(4):
        (root / f"oxford_pets/images/basset_hound_{number}.jpg").unlink()


def broken_image(root):
    path = root / "oxford_pets/images/basset_hound_6.jpg"
    path.write_bytes(path.read_bytes()[:-300])


def wrong_name(content):
    for rows in content.values():
        for row in rows:
            row[2] = "beagle" if row[2] == "basset_hound" else row[2]


def leak(content):
    content["test"].append(content["train"][0])


FAULTS = [
    (missing_images, r"4 of 32 listed images are missing: .*basset_hound_0.jpg.* and 1 more. Expected in .*Next: "),
    (broken_image, r"1 image\(s\) cannot be read: .*basset_hound_6.jpg \(.*\). Delete them, then fetch"),
    (
        lambda root: edit(root, wrong_name),
        r"8 image\(s\) have another class .* is 2 'beagle' in the split, 2 'basset_h",
    ),
    (
        lambda root: edit(root, leak),
        r"lists .*Abyssinian.* twice: in 'train' as 'abyssinian', in 'test' as 'abyssinian'",
    ),
    (lambda root: edit(root, lambda content: content["test"].pop()), r"test has 11 images, 12 are published"),
    (lambda root: edit(root, lambda content: content.pop("val")), r"must hold three lists"),
    (lambda root: shutil.rmtree(root / "oxford_pets/images"), r"32 of 32 listed images are missing"),
    (lambda root: shutil.rmtree(root / "oxford_pets"), r"there is no .*/oxford_pets\. Expected in .*Next: "),
    (
        lambda root: edit(root, lambda c: c.update(test=[row for row in c["test"] if row[1] != 1])),
        r"test has no image of american_bulldog",
    ),
    (
        lambda root: (root / "oxford_pets/split_fewshot/shot_2-seed_1.pkl").write_bytes(pickle.dumps([os.getcwd])),
        r"shot_2-seed_1\.pkl was refused: it refers to",
    ),
]


@pytest.mark.parametrize(("spoil", "sentence"), FAULTS, ids=range(len(FAULTS)))
def test_a_fault_is_told(prepare, pets, spoil, sentence):
    spoil(pets)
    code, said, _ = prepare("check", "OxfordPets", "--root", pets)
    assert code == 1 and "problem(s)" in said
    assert re.search(f"  ! .*{sentence}", said), said
    assert f"Next: python -m datasets.prepare fetch OxfordPets --root {pets}" in said


def test_images_in_no_list_are_a_remark(prepare, pets):
    image(pets / "oxford_pets/images/cat_9.jpg")
    code, said, _ = prepare("check", "OxfordPets", "--root", pets, "--quick")
    assert code == 0 and "1 images are in no list and are not used" in said and "can be read" not in said


def test_without_the_publishers_files(prepare, pets):
    shutil.rmtree(pets / "oxford_pets/annotations")
    code, said, _ = prepare("check", "OxfordPets", "--root", pets)
    assert code == 0 and "class names were not compared with the publisher's files" in said


def test_the_embedded_sets_are_fine(prepare, tmp_path):
    code, said, _ = prepare("check", "emojinet", "EmojiNetMono", "--quick", "--root", tmp_path)
    assert code == 0 and "EmojiNet: fine" in said and "EmojiNetMono: fine" in said


def test_ones_own_images(prepare, tmp_path):
    class_folders(tmp_path, ["cat", "dog"], count=10)
    code, said, _ = prepare("check", "ImageFolder", "--root", tmp_path)
    assert code == 0 and "train: 10 images, 5 to 5 per class" in said
    (tmp_path / "cat/cat_3.jpg").write_bytes(b"")
    code, said, _ = prepare("check", "image_folder", "--root", tmp_path)
    assert code == 1 and "1 image(s) cannot be read" in said and "prepare fetch" not in said
    text(tmp_path / "images.csv", "path,class,split", "cat/cat_0.jpg,cat,train", "dog/dog_0.jpg,cat,test")
    code, said, _ = prepare("check", "ImageList", "--root", tmp_path)
    assert code == 0 and "train: 1 images" in said and "18 images are in no list" in said


def test_list(prepare, tmp_path):
    (tmp_path / "dtd").mkdir()
    code, said, _ = prepare("list", "--root", tmp_path)
    lines = {line.split()[0]: line for line in said.splitlines() if line}
    assert code == 0 and set(NAMES) | {"EmojiNet", "EmojiNetMono", "ImageFolder:", "ImageList:"} <= set(lines)
    assert "CC BY-SA 4.0" in lines["OxfordPets"] and "2,944" in lines["OxfordPets"] and "fetch" in lines["OxfordPets"]
    assert "by hand" in lines["StanfordCars"] and "embedded" in lines["EmojiNet"]
    assert lines["DescribableTextures"].endswith("yes") and not lines["Food101"].endswith("yes")


def test_show(prepare, tmp_path):
    root = plant("Food101", tmp_path)
    output = tmp_path / "out" / "sheet.png"
    code, said, errors = prepare("show", "food101", "--root", root, "--output", output, "--per-class", 3)
    assert (code, said.strip()) == (0, str(output)), errors
    with Image.open(output) as sheet:
        assert sheet.format == "PNG" and sheet.width > 3 * 64 and sheet.height > 64
        colours = {colour for _, colour in sheet.convert("RGB").getcolors(1 << 20)}
    assert {(255, 255, 255)} < colours
    # a square of each class's colour, as far as JPEG keeps it
    for number in range(4):
        wanted = (37 * number % 256, 91 * number % 256, 53 * number % 256)
        assert any(all(abs(a - b) < 6 for a, b in zip(wanted, colour, strict=True)) for colour in colours)


def test_show_says_what_is_wrong(prepare, tmp_path):
    assert prepare("show", "dtd", "--root", tmp_path)[2].startswith("error: DescribableTextures: there is no ")
    root = plant("EuroSAT", tmp_path)
    for path in root.glob("eurosat/2750/Forest/*"):
        path.write_bytes(b"no image")
    code, _, errors = prepare("show", "eurosat", "--root", root, "--output", tmp_path / "x.png")
    assert code == 1 and "cannot be read" in errors and not (tmp_path / "x.png").exists()


POSTSCRIPT = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(ran) (w) file closefile\nshowpage\n"


def test_no_program_is_started_on_an_image(prepare, tmp_path, monkeypatch):
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    class_folders(tmp_path, ["cat", "dog"], ".png", 10)
    for path in tmp_path.glob("*/*_0.png"):
        path.write_text(POSTSCRIPT)
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: started.append(args))
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", "gs")
    code, said, _ = prepare("check", "ImageFolder", "--root", tmp_path)
    assert code == 1 and "2 image(s) cannot be read" in said and not started
    for path in tmp_path.glob("*/*.png"):
        path.write_text(POSTSCRIPT + f"% {path}")
    code, _, errors = prepare("show", "ImageFolder", "--root", tmp_path, "--output", tmp_path / "x.png")
    assert code == 1 and "cannot be read" in errors and not started


@pytest.mark.parametrize(
    ("size", "mode", "reason"),
    [
        ((1, 80_000), "L", "one side of 1 x 80000 pixels is more than 300 times the other"),
        ((80_000, 1), "1", "one side of 80000 x 1 pixels is more than 300 times the other"),
        ((12_000, 12_000), "1", "12000 x 12000 pixels are more than 90,000,000"),
        ((8, 8), "F", "32-bit, signed or floating-point numbers"),
    ],
)
def test_images_that_training_would_refuse(prepare, tmp_path, size, mode, reason, bounded):
    class_folders(tmp_path, ["cat", "dog"], ".tif", 10)
    Image.new(mode, size).save(tmp_path / "cat/cat_0.tif")
    with bounded(60):
        code, said, _ = prepare("check", "ImageFolder", "--root", tmp_path)
        assert code == 1 and reason in said and said.count("cat_0.tif") == 1
        code, _, errors = prepare(
            "show", "ImageFolder", "--root", tmp_path, "--output", tmp_path / "x", "--per-class", 9
        )
    assert code == 0 or reason in errors  # whether it is among those shown


@pytest.mark.parametrize("count", [1_000_000, 10**30, 0, -1])
def test_a_sheet_has_its_limits(prepare, tmp_path, count, bounded):
    with bounded(20):
        code, _, errors = prepare("show", "emojinet", "--output", tmp_path / "x.png", "--per-class", count)
    assert code == 1 and re.search(r"has room for \d+ images of each, not|At least one image per class", errors)


def test_names_of_any_length_are_shown(prepare, tmp_path, bounded):
    class_folders(tmp_path, ["cat", "dog"], ".png", 10)
    text(tmp_path / "classnames.json", json.dumps({"cat": "cat\nor tiger " * 50_000}))
    with bounded(20):
        code, _, errors = prepare("show", "ImageFolder", "--root", tmp_path, "--output", tmp_path / "x.png")
    assert code == 0, errors


def test_links_that_lead_nowhere_are_missing(prepare, pets):
    for path in sorted((pets / "oxford_pets/images").glob("basset_hound_[0-3].jpg")):
        path.unlink()
        path.symlink_to("../.git/annex/objects/not-fetched")
    code, said, _ = prepare("check", "OxfordPets", "--root", pets)
    assert code == 1 and "4 of 32 listed images are missing: " in said


def test_folders_that_lead_into_each_other(prepare, pets, bounded):
    for name in "abc":
        (pets / "oxford_pets/images" / name).symlink_to(".")
    with bounded(20):
        assert prepare("check", "OxfordPets", "--root", pets)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "OxfordPet"], "There is no data set 'OxfordPet': did you mean 'OxfordPets'?"),
        (["show", "emojinet", "emojinet_mono", "--output", "x.png"], "--output names one file"),
    ],
)
def test_a_mistake_in_the_command(prepare, arguments, sentence):
    code, _, errors = prepare(*arguments)
    assert code == 2 and errors.startswith(f"error: {sentence}")


def test_as_a_program():
    """The form people type, with no warning on the way."""
    command = [sys.executable, "-W", "error::RuntimeWarning", "-m", "datasets.prepare", "check", "emojinet", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("EmojiNet: fine")


@pytest.mark.parametrize(("redirect", "code"), [("| true", 0), (">&-", 0), ("> /dev/null", 0)])
def test_nobody_reads_what_is_said(redirect, code):
    command = f"set -o pipefail; {sys.executable} -m datasets.prepare check emojinet --quick --classes {redirect}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=REPOSITORY)
    assert (done.returncode, done.stderr) == (code, "")


def test_a_terminal_that_lacks_letters(tmp_path):
    plant("Food101", tmp_path)
    command = [sys.executable, "-m", "datasets.prepare", "check", "food101", "--classes", "--quick", "--root", tmp_path]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment)
    assert "cr\\xe8me_br\\xfbl\\xe9e" in done.stdout and "error" not in done.stderr
