"""Tables of what else records hold, cells that cannot be, numbers chosen on test images, and the default tree."""

import json

import pytest


@pytest.fixture
def measured(put, output):
    """Two methods with all numbers of schema 3 on base, new and all classes, of two seeds."""
    for trainer, tilt in (("CoOp", 0.0), ("MaPLe", 1.0)):
        for seed in (1, 2):
            facts = {"ece": 5.0 + tilt + seed, "brier": 0.5 + tilt / 10, "nll": 1.25, "mean_true_probability": 0.5}
            for subset in ("base", "new"):
                put(trainer, subset, seed, 60.0 + tilt, **facts)
            detection = {"max_probability": {"auroc": 70.0, "fpr95": 80.0 + tilt}}
            joint = {"base_accuracy": 50.0, "new_accuracy": 40.0 + tilt, "harmonic_mean": 44.0, "ausuc": 30.0}
            joint |= {"openworld_auc": 25.0 + seed, "detection": detection}
            put(trainer, "all", seed, 45.0, protocol="base2new", mode="eval", joint=joint)
    return output


def test_all_metrics_stand_in_blocks(measured, show, cells):
    code, out, err = show("tables", measured, "--metrics", "accuracy,ece,brier,joint,detection")
    accuracy, calibration, _, joint, *_ = cells(out)
    assert (code, err) == (0, "")
    assert accuracy[0] == ["OxfordPets", "base", "new", "H", "seeds"]
    assert calibration[0][:3] == ["OxfordPets, calibration", "ECE base", "ECE new"]
    assert calibration[1][1] == "6.5 ± 0.5 *" and calibration[2][1] == "7.5 ± 0.5"  # lower is better
    assert joint[0][1:4] == ["base", "new", "H"] and joint[2][2] == "41.0 ± 0.0 *"
    assert "27.5" not in out and "26.5 ± 0.5" in out and "0.500 ± 0.000" in out and "FPR95" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_metric_that_no_record_has_is_no_block(put, output, show, cells):
    put("CoOp", "base", 1, 60.0)
    assert len(cells(show("tables", output, "--metrics", "all")[1])) == 1  # of schema 2: accuracies alone
    code, _, err = show("tables", output, "--metrics", "ecce")
    assert code == 2 and "There is no metric 'ecce'; known are accuracy, ece" in err


def test_an_evaluation_of_all_classes_is_none_of_few_shot_learning(measured, show, put):
    """A base-trained model tested on all classes must not stand for one that was trained on all."""
    put("CoOp", "all", 1, 70.0, "ImageNet", name="src")
    put("CoOp", "all", 1, 50.0, "Food101", name="src", protocol="cross_dataset", source_dataset="ImageNet")
    out = show("tables", measured, "--table", "2")[1]
    assert "70.0" in out and "50.0" in out and "45.0" not in out


def test_what_a_method_cannot_do_is_a_dash_with_its_reason(put, output, show, cells):
    for seed in (1, 2):
        put("MaPLe", "base", seed, 60.0)
        put("MaPLe", "new", seed, 60.0)
        put("TaskRes", "base", seed, 70.0)
        put("TaskRes", "new", seed, None, unsupported="it learns a row per class.")
    code, out, err = show("tables", output)
    assert (code, err) == (0, "")
    assert cells(out)[0][2] == ["TaskRes", "70.0 ± 0.0 *", "–¹", "–¹", "2"]
    assert "–¹ not possible: it learns a row per class." in " ".join(out.split())
    assert r"--$^1$" in show("tables", output, "--format", "latex")[1]
    assert "it learns a row per class" in show("tables", output, "--format", "csv")[1]
    code, _, err = show("html", output, "-o", output / "page.html")
    page = (output / "page.html").read_text()
    assert code == 0 and "–¹" in page and "not possible: it learns a row per class" in page


def test_what_was_chosen_on_test_images_is_marked_wherever_it_enters(put, output, show, cells):
    training = put("Tip", "base", 1, 60.0, selected_on="test")
    put("Tip", "new", 1, 50.0, checkpoint={"directory": str(training)}, experiment="Tip-vit")
    put("CoOp", "base", 1, 70.0)
    out = show("tables", output)[1]
    rows = {row[0]: row[1:] for row in cells(out)[0]}
    assert rows["Tip"] == ["60.0 †", "50.0 †", "54.5 †", "1"] and rows["CoOp"][0] == "70.0 *"
    assert "† something of the method was chosen by its accuracy on test images" in " ".join(out.split())
    assert r"50.0 $\dagger$" in show("tables", output, "--format", "latex")[1]
    assert "**50.0** †" not in show("tables", output, "--format", "markdown")[1]


def test_which_inference_was_used_stands_below(put, output, show):
    put("MMRL", "base", 1, 60.0, inference="both branches")
    put("MMRL", "new", 1, 50.0, inference="the frozen branch")
    out = " ".join(show("tables", output)[1].split())
    assert "Inference of MMRL: both branches (base); the frozen branch (new)." in out


def test_both_spreads(measured, show):
    assert "6.5 ± 0.5 (± 6.4)" in show("tables", measured, "--metrics", "ece", "--spread", "both")[1]


def test_the_tree_is_found(measured, show, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # `output` is there
    monkeypatch.delenv("OUTPUT", raising=False)
    here = show("tables")
    assert here[0] == 0 and here == show("tables", measured)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("OUTPUT", str(elsewhere))
    code, _, err = show("tables")
    assert code == 2 and str(elsewhere) in err
    record = json.loads((measured / "base/OxfordPets/CoOp/vit/seed1/metrics.json").read_text())
    (elsewhere / "metrics.json").write_text(json.dumps(record))
    assert "60.0" in show("tables")[1]
