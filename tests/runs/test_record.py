"""metrics.json and predictions.csv: what docs/records.md says of them, and that they agree with the evaluator."""

import csv
import io
import math
import re
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from dassl.data.datasets import DATASET_REGISTRY
from record_files import documented, rows_of
from small_run import CLASSES, NoiseSquares

from promptclip.cli import VERSION
from runs import environment
from runs.predictions import COLUMNS, JOINT_COLUMNS, Predictions, relative
from runs.record import SCHEMA, finite

SHORT = ("OPTIM.MAX_EPOCH", "1")


def test_keys_and_their_documentation(perform, tmp_path):
    steady = perform(tmp_path / "one", *SHORT, "TEST.SKIP_BROKEN", "True").record
    chance = perform(tmp_path / "two", *SHORT, "SEED", "-1").record
    assert set(documented("metrics.json")) == set(steady) | set(chance) | {"unsupported"}
    assert set(chance) - set(steady) == {"not_deterministic_because"}
    assert set(steady) - set(chance) == {"broken_images"}
    assert tuple(documented("predictions.csv")) == COLUMNS + JOINT_COLUMNS
    begun = perform(tmp_path / "three", "OPTIM.LR", "1e6", code=1).record  # interrupted: the loss becomes infinite
    assert set(begun) == set(documented("From the beginning", 3)) and begun["complete"] is False


def test_the_figures_are_the_evaluators(perform, tmp_path):
    run = perform(tmp_path / "out", *SHORT, "TEST.PER_CLASS_RESULT", "True")
    classes = re.findall(r"\* class: (\d+) \((.+)\)\ttotal: (\d+)\tcorrect: (\d+)\tacc: ([\d.]+)%", run.out)
    found = run.record
    assert [name for _, name, *_ in classes] == found["classnames"] == list(CLASSES)
    assert found["per_class_accuracy"] == [100 * int(correct) / int(total) for *_, total, correct, _ in classes]
    totals = dict(re.findall(r"\* (total|correct|accuracy|macro_f1): ([\d.]+)", run.out))
    assert (found["total"], found["correct"]) == (int(totals["total"]), int(totals["correct"]))
    assert 100 * found["correct"] / found["total"] == pytest.approx(found["accuracy"])
    assert f"{found['accuracy']:.1f}" == totals["accuracy"] and f"{found['macro_f1']:.1f}" == totals["macro_f1"]


def test_a_row_a_test_image(perform, tmp_path):
    run = perform(tmp_path / "out", *SHORT)
    rows = rows_of(run.directory)
    assert [row["path"] for row in rows] == [f"{k}_{n}.png" for k in range(3) for n in (6, 7)]
    assert [row["label"] for row in rows] == ["0", "0", "1", "1", "2", "2"]
    assert sum(row["label"] == row["prediction"] for row in rows) == run.record["correct"]
    for row in rows:
        top = row["top5"].split(" ")
        assert top[0] == row["prediction"] and sorted(top) == ["0", "1", "2"]
    probabilities = [float(row["true_probability"]) for row in rows]
    assert run.record["mean_true_probability"] == pytest.approx(sum(probabilities) / 6, abs=1e-5)
    assert all(0 < one < 1 for one in probabilities)


def test_scores_become_rows(tmp_path):
    found = Predictions(str(tmp_path))
    paths = [str(tmp_path / "a, b/1.png"), "/elsewhere/2.png"]
    found.add(paths, torch.tensor([[1.0, 1.0, 0.0, -9.0, -1.0, 0.5], [0.0, 9.0, 0, 0, 0, 0]]), torch.tensor([1, 1]))
    first, second = csv.DictReader(found.text().splitlines())
    assert (first["path"], second["path"]) == ("a, b/1.png", "/elsewhere/2.png")
    assert (first["prediction"], first["top5"]) == ("0", "0 1 5 2 4")  # of equal scores the first class
    e = math.e
    assert float(first["true_probability"]) == pytest.approx(e / (2 * e + 1 + e**-9 + 1 / e + e**0.5), rel=1e-5)
    assert found.figures(3)["per_class_accuracy"] == [None, 50.0, None] and found.figures(3)["correct"] == 1


def test_paths_of_the_embedded_data_and_odd_names(tmp_path):
    root = Predictions("").root
    assert relative(f"{root}/emojinet/images/x.png", root) == "emojinet/images/x.png"
    assert relative(f"{tmp_path}/\udcff.png", str(tmp_path)) == "?.png"
    assert relative(f"{tmp_path}/\r=1\n.png", str(tmp_path)) == "?=1?.png"
    assert relative(f"{tmp_path}more/x.png", str(tmp_path)) == f"{tmp_path}more/x.png"


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t"])
def test_no_cell_is_a_formula(tmp_path, sign):
    """A spreadsheet would run what begins with one of these signs; the path still leads to the image."""
    folder = tmp_path / f"{sign}HYPERLINK(1)"
    folder.mkdir()
    (folder / "1.png").touch()
    found = Predictions(str(tmp_path))
    found.add([str(folder / "1.png")], torch.zeros(1, 2), torch.tensor([0]))
    (row,) = csv.DictReader(io.StringIO(found.text(), newline=""))
    assert row["path"][0] == "." and (tmp_path / row["path"]).is_file()


def test_the_command_repeats_the_run(perform, tmp_path):
    first = perform(tmp_path / "one", *SHORT).record
    assert first["command"][0] == "train.py"
    argv = [str(tmp_path / "two") if word == str(tmp_path / "one") else word for word in first["command"][1:]]
    second = perform(tmp_path / "two", *argv).record
    for key in ("accuracy", "per_class_accuracy", "mean_true_probability", "feature_shift", "experiment"):
        assert first[key] == second[key]
    assert first["config"] == yaml.safe_load((tmp_path / "one/config.yaml").read_text())


def test_protocol_and_source(perform, tmp_path, monkeypatch):
    class Other(NoiseSquares):
        pass

    monkeypatch.setitem(DATASET_REGISTRY._obj_map, "Other", Other)
    trained = perform(tmp_path / "trained", *SHORT).record
    assert (trained["protocol"], trained["source_dataset"]) == ("fewshot", None)
    checkpoint = ("--eval-only", "--model-dir", str(tmp_path / "trained"), "--load-epoch", "1")
    cases = [
        ("same", (), "fewshot", "NoiseSquares"),
        ("other", ("DATASET.NAME", "Other"), "cross_dataset", "NoiseSquares"),
        ("new", ("DATASET.NAME", "Other", "DATASET.SUBSAMPLE_CLASSES", "new"), "base2new", "NoiseSquares"),
    ]
    for name, options, protocol, source in cases:
        found = perform(tmp_path / name, *checkpoint, *options).record
        assert (found["mode"], found["protocol"], found["source_dataset"]) == ("eval", protocol, source)
        assert found["train_seconds"] is None and found["test_images_per_second"] > 0
    (tmp_path / "trained/config.yaml").unlink()  # as beside a published checkpoint
    found = perform(tmp_path / "unknown", *checkpoint, "DATASET.NAME", "Other").record
    assert (found["protocol"], found["source_dataset"]) == ("fewshot", None)


def test_images_of_ones_own_have_a_name(perform, command, tmp_path):
    """Two folders are two data sets, of one experiment; classes with fewer images than shots are told."""
    source = Path(command[command.index("--root") + 1])
    for name in ("mine", "yours"):
        for part, numbers in (("train", (1, 2, 3)), ("test", (6, 7))):
            for label, kind in enumerate(("red", "green")):
                folder = tmp_path / name / part / kind
                folder.mkdir(parents=True)
                for number in numbers[: None if label else 2]:
                    (folder / f"{number}.png").write_bytes((source / f"{label}_{number}.png").read_bytes())
    own = (*SHORT, "DATASET.NAME", "ImageFolder", "DATASET.NUM_SHOTS", "3", "DATASET.ROOT")
    trained = perform(tmp_path / "trained", *own, str(tmp_path / "mine")).record
    assert (trained["dataset"], trained["source_dataset"], trained["protocol"]) == ("mine", None, "fewshot")
    assert trained["short_classes"] == {"red": 2}
    checkpoint = ("--eval-only", "--model-dir", str(tmp_path / "trained"), "--load-epoch", "1")
    other = perform(tmp_path / "other", *checkpoint, *own, str(tmp_path / "yours")).record
    assert (other["dataset"], other["source_dataset"], other["protocol"]) == ("yours", "mine", "cross_dataset")
    assert (other["experiment"], other["short_classes"]) == (trained["experiment"], None)
    again = perform(tmp_path / "again", *checkpoint, *own, str(tmp_path / "mine")).record
    assert (again["dataset"], again["source_dataset"], again["protocol"]) == ("mine", "mine", "fewshot")
    named = perform(tmp_path / "named", *own, str(tmp_path / "mine"), "DATASET.LABEL", "ours").record
    assert (named["dataset"], named["experiment"]) == ("ours", trained["experiment"])


def test_versions_are_the_installed_ones():
    found = environment.versions()
    assert found["torch"] == torch.__version__ and found["clip"]
    assert found["restore"] == VERSION


def test_the_commit_of_a_checkout(tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=n", "-c", "user.email=e")
        return subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)

    (tmp_path / "inside").mkdir()
    assert environment.git_commit(tmp_path) is None
    git("init", "-q")
    assert environment.git_commit(tmp_path) is None  # no commit yet
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "HEAD").stdout.strip()
    (tmp_path / "untracked").touch()
    assert environment.git_commit(tmp_path) == commit
    assert environment.git_commit(tmp_path / "inside") is None
    (tmp_path / "file").write_text("two")
    assert environment.git_commit(tmp_path) == f"{commit}-dirty"


def test_memory(perform, tmp_path):
    found = perform(tmp_path / "out", *SHORT).record
    assert 50e6 < found["peak_memory_bytes"] < 50e9 and found["peak_device_memory_bytes"] is None
    assert found["precision"] == "fp32" and found["schema"] == SCHEMA


def test_numbers_that_json_lacks():
    assert finite({"a": [1.5, math.nan, (math.inf, 2)], "b": "x"}) == {"a": [1.5, None, [None, 2]], "b": "x"}
