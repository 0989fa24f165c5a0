"""Records of both schemas; damaged, unfinished and missing ones; what protocol a run without one belongs to."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from report.records import read_records


def test_every_attribute_of_a_record(put, output):
    run = put("CoOp", "new", 3, 61.5, "Food101", config={"OPTIM": {"LR": 0.002}}, source_dataset="Food101")
    (record,) = read_records(output)
    assert (record.path, record.trainer, record.dataset, record.subset) == (run, "CoOp", "Food101", "new")
    assert (record.seed, record.accuracy, record.mode, record.protocol) == (3, 61.5, "eval", "base2new")
    assert (record.source, record.epoch, record.shots, record.backbone) == ("Food101", 10, 16, "ViT-B/16")
    assert (record.experiment, record.config) == ("CoOp-vit", {"OPTIM.LR": 0.002})
    assert record.complete and not record.zero_shot and not record.from_log
    assert record.command == "python train.py --seed 3 --trainer CoOp"


def test_schema_1_takes_its_configuration_from_the_file_beside_it(put, output):
    run = put("CoOp", "base", 1, 60.0)
    record = json.loads((run / "metrics.json").read_text())
    for key in ("schema", "protocol", "source_dataset", "command"):
        del record[key]
    (run / "metrics.json").write_text(json.dumps(record))
    (run / "config.yaml").write_text("OPTIM:\n  LR: 0.002\nSEED: 1\n")
    (read,) = read_records(output)
    assert read.config == {"OPTIM.LR": 0.002, "SEED": 1}
    assert (read.protocol, read.command, read.accuracy) == ("base2new", None, 60.0)


def test_the_source_of_a_transfer_is_found_by_its_checkpoint(put, output):
    training = put("CoOp", "all", 1, 70.0, "ImageNet", protocol=None, mode="train")
    directory = "elsewhere/" + "/".join(training.parts[-4:])  # the tree was moved since
    put("CoOp", "all", 1, 50.0, "Food101", protocol=None, checkpoint={"directory": directory})
    put("CoOp", "all", 1, 60.0, "DTD", protocol=None, checkpoint={"directory": "elsewhere/x"})
    read = {record.dataset: (record.protocol, record.source) for record in read_records(output)}
    assert read == {
        "ImageNet": ("fewshot", None),
        "Food101": ("cross_dataset", "ImageNet"),
        "DTD": ("fewshot", None),
    }


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[:50], "is damaged"),
        (lambda text: "[1, 2]", "is damaged"),
        (lambda text: "[" * 100_000, "is damaged"),
        (lambda text: "\xff\xfe" + text, "is damaged"),
        (lambda text: text.replace('"seed": 2, ', ""), "lacks seed"),
        (lambda text: text.replace("70.0", "NaN"), "has an impossible accuracy"),
        (lambda text: text.replace("70.0", "700.0"), "has an impossible accuracy"),
        (lambda text: text.replace("70.0", '"70"'), "has an impossible accuracy"),
        (lambda text: text.replace('"seed": 2', '"seed": "2"'), "has an impossible seed"),
        (lambda text: text.replace('"CoOp"', "7"), "has an impossible trainer"),
        (lambda text: text.replace("70.0", '"abc"'), "has an impossible accuracy"),
        (lambda text: text.replace("70.0", "9" * 400), "has an impossible accuracy"),
        (lambda text: text.replace('"seed": 2', '"seed": null'), "has an impossible seed"),
        (lambda text: text.replace('"complete": true', '"complete": "no"'), "has an impossible complete"),
        (lambda text: text.replace('"epoch": 10', '"epoch": "ten"'), "has an impossible epoch"),
        (lambda text: text.replace('"experiment": "CoOp-vit"', '"experiment": 5'), "has an impossible experiment"),
        (lambda text: text.replace('"source_dataset": null', '"checkpoint": 5'), "has an impossible checkpoint"),
        (lambda text: text.replace('"source_dataset": null', '"config": [1]'), "has an impossible config"),
    ],
)
def test_a_damaged_record_is_named_and_left_out(put, output, show, damage, said):
    put("CoOp", "base", 1, 60.0)
    file = put("CoOp", "base", 2, 70.0) / "metrics.json"
    changed = damage(file.read_text())
    assert changed != file.read_text()
    file.write_text(changed, encoding="latin-1")
    code, out, err = show("tables", output)
    assert code == 0 and "60.0" in out and "70.0" not in out
    assert err == f"{file} {said}, left out\n"


def test_half_a_character_is_spelled_out(put, output, show, tmp_path):
    """A file name that is no UTF-8 reaches a record as a lone surrogate, which nothing can print."""
    put("My\udcffOwn", "base", 1, 60.0, command=["train.py", "caf\udce9"], device="\ud800", classnames=["\udc80"])
    for command, file in (("tables", "table.txt"), ("html", "page.html")):
        code, _, err = show(command, output, "-o", tmp_path / file)
        assert code == 0 and "error" not in err
        assert "My\\udcffOwn" in (tmp_path / file).read_text(encoding="utf-8")
    assert "caf\\udce9" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_pipe_or_a_folder_in_place_of_a_record_holds_nothing_up(put, output, show):
    put("CoOp", "base", 1, 60.0)
    other = put("CoOp", "base", 2, 70.0)
    (other / "metrics.json").unlink()
    os.mkfifo(other / "metrics.json")
    code, out, err = show("tables", output)
    assert code == 0 and "60.0" in out and f"{other}/metrics.json is damaged" in err


def test_a_run_that_was_not_tested_is_left_out(put, output, show):
    put("CoOp", "base", 1, 60.0)
    put("CoOp", "base", 2, None)
    assert [record.seed for record in read_records(output)] == [1]


@pytest.mark.parametrize("command", ["tables", "figures", "html"])
def test_an_empty_tree_gets_a_sentence(output, show, tmp_path, command):
    code, out, err = show(command, output, "-o", tmp_path / "there")
    assert (code, out) == (2, "") and err.startswith("error: There is no metrics.json below")
    code, _, err = show(command, output / "no", "-o", tmp_path / "there")
    assert code == 2 and err.startswith("error: There is no directory")
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("shell", ["{} >&-", "{} | head -1 >&2", "PYTHONIOENCODING=ascii {} >&2"])
def test_no_output_is_no_reason_to_break(put, output, shell):
    for seed in range(3):
        put("CoOp", "base", seed, 60.0 + seed)
    command = shell.format(f"{sys.executable} -m report tables {output}")
    root = Path(__file__).parents[2]
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0 and "rror" not in done.stderr


@pytest.mark.parametrize(
    ("code", "foreign"),
    [
        ("report.__main__, report.page.document", {"torch", "dassl", "trainers", "parse_test_res", "pandas"}),
        ("report.__main__", {"torch", "matplotlib", "numpy", "PIL", "jinja2", "scipy", "sklearn"}),
    ],
)
def test_reading_needs_little(code, foreign):
    """Tables of a thousand runs are there at once, also where no GPU library is installed; so is --help."""
    code = f"import sys, {code}; print({foreign} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "set()\n", done.stderr
