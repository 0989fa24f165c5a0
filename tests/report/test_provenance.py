"""Data sets of one's own are told apart, and an evaluation belongs to the run whose checkpoint it used."""

import csv
import io
import json

import pytest

from report.records import read_records


@pytest.fixture
def own(put):
    """own("CoOp", "base", 1, 60.0, root="/data/pets"): a run on one's own images; keywords replace its keys."""

    def write(trainer, subset, seed, accuracy, root, kind="ImageFolder", label=None, place=None, settings=None, **more):
        data = {"NAME": kind, "ROOT": root} | (settings or {})
        run = put(trainer, subset, seed, accuracy, place or f"{kind}{root}".replace("/", "-"), **more)
        record = json.loads((run / "metrics.json").read_text()) | {"dataset": label or kind}
        record["config"] = {"DATASET": data}
        (run / "metrics.json").write_text(json.dumps(record))
        return run

    return write


def both(own, accuracy, root, **more):
    """Zero-shot CLIP and CoOp on both halves of one data set."""
    for trainer in ("ZeroshotCLIP", "CoOp"):
        for subset in ("base", "new"):
            own(trainer, subset, 1, accuracy, root, **more)


@pytest.mark.parametrize("labels", [(None, None), ("pets", "cars")])  # records before DATASET.LABEL, and since
def test_two_data_sets_of_ones_own_are_two(own, output, show, cells, labels):
    both(own, 80.0, "/data/pets/", label=labels[0])
    both(own, 40.0, "/data/cars", label=labels[1])
    average, cars, pets = cells(show("tables", output)[1])
    assert average[1] == ["zero-shot CLIP", "60.0 *", "60.0 *", "60.0 *", "1"]
    assert cars[0][0] == "cars" and [row[1] for row in cars[1:]] == ["40.0 *"] * 2
    assert pets[0][0] == "pets" and [row[1] for row in pets[1:]] == ["80.0 *"] * 2
    assert "cars" not in show("tables", output, "--dataset", "pets")[1]


@pytest.mark.parametrize(
    ("kind", "settings", "named"),
    [
        ("ImageFolder", {"LABEL": "mine"}, "mine"),
        ("ImageList", {"LABEL": "mine", "LIST": "cats.csv"}, "mine"),
        ("ImageList", {"LIST": "lists/cats.csv"}, "cats"),
        ("ImageList", {"LIST": ""}, "pets"),
        ("ImageFolder", {"LABEL": ""}, "pets"),
        ("ImageFolder", {"ROOT": ""}, "ImageFolder"),
        ("ImageFolder", {"ROOT": "/data/ImageNet"}, "ImageNet-ImageFolder"),  # not compared with published numbers
        ("ImageFolder", {"LABEL": "DTD"}, "DTD-ImageFolder"),
        ("OxfordPets", {}, "OxfordPets"),
    ],
)
def test_what_a_data_set_is_called(own, output, kind, settings, named):
    own("CoOp", "base", 1, 60.0, "/data/pets", kind, settings=settings)
    assert [record.dataset for record in read_records(output)] == [named]


def test_the_page_and_the_figures_tell_them_apart(own, output, show, tmp_path):
    for root in ("/data/pets", "/data/cars"):
        for subset in ("base", "new"):
            more = {"mean_true_probability": 0.5, "classnames": ["a"], "per_class_accuracy": [50.0], "total": 2}
            run = own("CoOp", subset, 1, 60.0, root, **more)
            (run / "predictions.csv").write_text("path,label,prediction,true_probability,top5\n")
            (run / "history.json").write_text('[{"epoch": 1, "losses": {"loss": 1.0}}]')
    pytest.importorskip("matplotlib")
    code, out, _ = show("figures", output, "-o", tmp_path / "figures")
    assert code == 0 and "curves_cars_base.png" in out and "curves_pets_base.png" in out
    assert show("html", output, "-o", tmp_path / "page.html")[0] == 0
    page = (tmp_path / "page.html").read_text()
    assert all(page.count(f"<summary>{name}, base classes</summary>") == 2 for name in ("cars", "pets"))
    assert "base classes of pets" in page and "es of ImageFolder" not in page


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"root": "/a/pets"}, {"root": "/b/pets"}),
        ({"root": "/a/pets", "label": "pets"}, {"root": "/b/pets", "label": "pets"}),
        ({"root": "/a/pets", "kind": "ImageList"}, {"root": "/b/pets"}),
        (
            {"root": "/a", "settings": {"LABEL": "my"}, "total": 9},
            {"root": "/b", "settings": {"LABEL": "my"}, "total": 8},
        ),
        ({"root": "/a", "classnames": ["x", "z"]}, {"root": "/a"}),  # the folder has changed
    ],
)
def test_different_data_of_one_name_is_kept_apart_and_told(own, output, show, cells, one, other):
    given = {"classnames": ["x", "y"], "total": 9}
    own("ZeroshotCLIP", "base", 1, 80.0, **{"place": "p1"} | given | one)
    own("ZeroshotCLIP", "base", 2, 40.0, **{"place": "p2"} | given | other)
    code, out, err = show("tables", output)
    assert code == 0 and {row[1] for row in cells(out)[1][1:] + cells(out)[2][1:]} == {"80.0", "40.0"}
    assert "is the name of different data" in err and "DATASET.LABEL" in err


def test_one_label_joins_folders_that_hold_the_same(own, output, show, cells):
    for seed, root in ((1, "/a"), (2, "/b")):
        given = {"classnames": ["x"], "total": 9, "settings": {"LABEL": "my"}, "place": f"p{seed}"}
        own("CoOp", "base", seed, 59.0 + seed, root, **given)
    _, out, err = show("tables", output)
    assert cells(out)[0][1][:2] == ["CoOp", "60.5 ± 0.5"] and err == ""


@pytest.mark.parametrize(
    ("one", "other", "named", "recorded"),
    [
        (("/data/pets", None), ("/data/cars", None), "pets", "fewshot"),  # as a388d58 recorded it
        (("/data/pets", "pets"), ("/data/cars", "cars"), "pets", "cross_dataset"),
        (("/a/pets", "pets"), ("/b/pets", "pets"), "pets (/a/pets)", "fewshot"),
    ],
)
def test_transfer_between_data_sets_of_ones_own(own, output, show, cells, one, other, named, recorded):
    training = own("CoOp", "all", 1, 70.0, one[0], label=one[1], mode="train")
    given = {"mode": "eval", "source_dataset": one[1] or "ImageFolder", "checkpoint": {"directory": str(training)}}
    own("CoOp", "all", 1, 50.0, other[0], label=other[1], protocol=recorded, **given)
    given |= {"experiment": "CoOp-vit", "name": "again"}
    own("CoOp", "all", 1, 71.0, one[0], label=one[1], protocol="fewshot", **given)
    out = show("tables", output)[1]
    assert f"trained on {named}" in out
    assert cells(out)[0][1] == ["CoOp", "71.0", "50.0", "50.0", "1"]


def test_a_transfer_from_another_source_is_not_this_ones(transfer, put, output, show, cells):
    put("CoOp", "all", 1, 70.0, "ImageNet", mode="train")
    transfer("CoOp", "Food101", 1, 60.0)
    transfer("CoOp", "Food101", 1, 20.0, name="zz", experiment="CoOp-vit", source_dataset="Caltech101")
    transfer("CoOp", "ImageNet", 1, 10.0, name="zz", experiment="CoOp-vit", source_dataset="Caltech101")
    source = {table[0][2]: table for table in cells(show("tables", output)[1])}
    assert source["Food101"][1][:3] == ["CoOp", "70.0", "60.0"]


def numbers(show, output):
    """(column, mean) of every cell that has one."""
    rows = csv.DictReader(io.StringIO(show("tables", output, "--format", "csv")[1]))
    return {(row["column"], row["mean"]) for row in rows if row["mean"]}


def by_hand(put, training, subset="new", **more):
    """An evaluation that does not repeat OPTIM.MAX_EPOCH, so that its experiment is another."""
    config = {"OPTIM": {"MAX_EPOCH": 200}, "INPUT": {"SIZE": [224, 224]}, "TEST": {"SPLIT": "test"}}
    given = {"mode": "eval", "config": config, "experiment": "other", "name": "by hand"}
    given |= {"checkpoint": {"directory": str(training), "epoch": 5, "sha256": {"p": "1"}}, "epoch": 5}
    return put("CoOp", subset, more.pop("seed", 1), more.pop("accuracy", 11.1), **given | more)


def trained(put, **more):
    config = {"OPTIM": {"MAX_EPOCH": 5}, "INPUT": {"SIZE": [224, 224]}, "TEST": {"SPLIT": "test"}}
    return put("CoOp", "base", 1, 94.4, **{"mode": "train", "epoch": 5, "config": config} | more)


@pytest.mark.parametrize("own", [["normalize"], ["normalize", "random_flip"]])
def test_augmentation_is_no_part_of_an_evaluation(put, output, show, cells, own):
    with_flip = {
        "OPTIM": {"MAX_EPOCH": 5},
        "INPUT": {"TRANSFORMS": ["random_flip", "normalize"], "RRCROP_SCALE": [1, 1]},
    }
    by_hand(put, trained(put, config=with_flip), config={"INPUT": {"TRANSFORMS": own, "RRCROP_SCALE": [0.1, 1]}})
    assert cells(show("tables", output)[1])[0][1:] == [["CoOp", "94.4", "11.1", "19.9", "1"]]


@pytest.mark.parametrize("more", [{}, {"shots": -1}, {"seed": -1}, {"epoch": None}, {"experiment": ""}])
def test_an_evaluation_by_hand_belongs_to_its_training(put, output, show, cells, more):
    by_hand(put, trained(put), **more)
    assert cells(show("tables", output)[1])[0][1:] == [["CoOp", "94.4", "11.1", "19.9", "1"]]


@pytest.mark.parametrize(
    "directory",
    [
        "/old/place/output/base/OxfordPets/CoOp/vit/seed1",
        "base/OxfordPets/CoOp/vit/seed1",
        "OxfordPets/CoOp/vit/seed1/",
    ],
)
def test_also_when_the_tree_has_been_moved(put, output, show, cells, directory):
    by_hand(put, trained(put), checkpoint={"directory": directory})
    assert cells(show("tables", output)[1])[0][1][1:] == ["94.4", "11.1", "19.9", "1"]


def test_also_by_the_checkpoints_digest(put, output, show, cells):
    by_hand(put, trained(put))
    by_hand(put, "/copied/elsewhere", "base", name="again", accuracy=94.0)
    assert cells(show("tables", output)[1])[0][1][:3] == ["CoOp", "94.0", "11.1"]


@pytest.mark.parametrize(
    "more",
    [
        {"checkpoint": {"directory": "elsewhere/seed1"}},
        {"checkpoint": None},
        {"checkpoint": {"directory": 5, "sha256": []}},
        {"config": {"INPUT": {"INTERPOLATION": "bicubic", "SIZE": [32, 32]}}},  # another number of the same checkpoint
        {"config": {"TEST": {"SPLIT": "train"}}},
        {"backbone": "RN50"},
        {"epoch": 2},
    ],
)
def test_what_is_not_that_runs_is_not_given_to_it(put, output, show, more):
    by_hand(put, trained(put), **more)
    assert numbers(show, output) == {("base", "94.4000"), ("new", "11.1000")}
    assert "19.9" not in show("tables", output)[1]  # no H: they are two rows


def test_two_evaluations_of_one_checkpoint_do_not_hide_each_other(put, output, show):
    training = trained(put)
    by_hand(put, training, accuracy=11.1, experiment="one", name="one")
    by_hand(put, training, accuracy=22.2, experiment="two", name="two")
    assert numbers(show, output) == {("base", "94.4000"), ("new", "11.1000"), ("new", "22.2000")}


def test_two_trainings_that_a_path_could_mean_get_nothing(put, output, show, cells):
    for name in ("a", "b"):
        trained(put, name=f"{name}/vit", experiment=name)
    by_hand(put, "CoOp/vit/seed1", checkpoint={"directory": "vit/seed1"})
    assert len(cells(show("tables", output)[1])[0]) == 4
