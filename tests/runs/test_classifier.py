"""A run leaves its classifier, which says of the test images what the run's own record says."""

import csv
import json
import shutil

import pytest
import torch

import promptclip
from promptclip.cli import main
from runs.classifier import write_classifier


@pytest.fixture(scope="module")
def trained(tmp_path_factory, command):
    import train

    place = tmp_path_factory.mktemp("trained") / "run"
    assert train.main([*command, "--output-dir", str(place)]) == 0
    return place


@pytest.fixture
def images(command, trained):
    """Test images and labels of predictions.csv, with what it says of them."""
    with (trained / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    root = command[command.index("--root") + 1]
    return [f"{root}/{row['path']}" for row in rows], rows


def test_it_says_what_the_record_says(trained, images):
    paths, rows = images
    model = promptclip.load(trained)
    probabilities = model.probabilities(paths)
    for row, found in zip(rows, probabilities, strict=True):
        assert found[int(row["label"])].item() == pytest.approx(float(row["true_probability"]), rel=1e-4)
    record = json.loads((trained / "metrics.json").read_text())
    training = model.info["training"]
    assert model.classes == record["classnames"] and training["accuracy"] == record["accuracy"]
    assert (training["seed"], training["shots"], training["epochs"]) == (3, 5, 4)
    assert training["commit"] == record["git_commit"] and model.info["method"] == "RESTORE_p"
    assert f"{record['accuracy']:.2f}" in (trained / "classifier/README.md").read_text()


def test_it_needs_no_data(trained, images, tmp_path):
    moved = shutil.copytree(trained / "classifier", tmp_path / "anywhere")
    assert promptclip.load(moved).predict(images[0][0], top=1) == promptclip.load(trained).predict(images[0][0], top=1)


def test_an_earlier_run_is_packed(trained, images, tmp_path, capfd):
    earlier = shutil.copytree(trained, tmp_path / "earlier", ignore=shutil.ignore_patterns("classifier"))
    with pytest.raises(FileNotFoundError, match="run `promptclip pack"):
        promptclip.load(earlier)
    assert main(["pack", str(earlier)]) == 0
    assert str(earlier / "classifier") in capfd.readouterr().out
    packed, left = promptclip.load(earlier), promptclip.load(trained)
    assert torch.equal(packed.probabilities(images[0]), left.probabilities(images[0]))
    same = packed.info.keys() - {"parts", "promptclip"}  # the settings that training alone needs are not known here
    assert {key: packed.info[key] for key in same} == {key: left.info[key] for key in same}
    assert main(["pack", str(earlier), "--load-epoch", "2"]) == 0
    assert not torch.equal(promptclip.load(earlier).probabilities(images[0]), left.probabilities(images[0]))
    assert "accuracy" not in promptclip.load(earlier).info["training"], "the figures are of the training's end"


def test_a_run_that_cannot_be_packed(trained, tmp_path, capfd):
    earlier = shutil.copytree(trained, tmp_path / "earlier", ignore=shutil.ignore_patterns("classifier"))
    (earlier / "metrics.json").unlink()
    assert main(["pack", str(earlier)]) == 2 and "does not name the classes" in capfd.readouterr().err
    assert main(["pack", str(earlier), "--classes", "a,b,c"]) == 0
    assert promptclip.load(earlier).classes == ["a", "b", "c"]
    config = (earlier / "config.yaml").read_text()
    (earlier / "config.yaml").write_text(config.replace("NAME: RESTORE_p", "NAME: Homemade"))
    assert main(["pack", str(earlier)]) == 2 and "is a run of Homemade" in capfd.readouterr().err
    (earlier / "config.yaml").unlink()
    assert main(["pack", str(earlier)]) == 2 and "holds no config.yaml" in capfd.readouterr().err


def test_an_evaluation_leaves_none(trained, command, tmp_path):
    import train

    evaluate = ["--eval-only", "--model-dir", str(trained), "--load-epoch", "4"]
    assert train.main([*command, "--output-dir", str(tmp_path / "eval"), *evaluate]) == 0
    assert not (tmp_path / "eval/classifier").exists()
    assert main(["pack", str(tmp_path / "eval")]) == 2


def test_a_trainer_without_a_learner_leaves_none(tmp_path):
    assert write_classifier(object(), None, tmp_path, {}) is None
    assert not list(tmp_path.iterdir())
