"""Specifications: what they stand for, and the sentence for what they cannot mean."""

import pytest

from sweeps.spec import SPECS, find_spec, read_spec, rows_of


def rows(tmp_path, text, *changes):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return rows_of(read_spec(file, list(changes)))


def test_a_plain_row(tmp_path):
    (row,) = rows(tmp_path, "{trainer: CoOp, dataset: emojinet}")
    assert (row.label, row.trainer, row.config, row.epochs, row.shots) == ("CoOp", "CoOp", None, None, 16)
    assert (row.datasets, row.seeds, row.protocols, row.subsets) == (
        ("emojinet",),
        (1, 2, 3),
        ("base2new",),
        ("base", "new"),
    )


def test_lists_are_a_grid_and_name_their_rows(tmp_path):
    text = "{trainers: [CoOp, VPT], dataset: emojinet, epochs: [2, 5], set: {OPTIM.LR: [0.1, 0.2]}}"
    labels = [row.label for row in rows(tmp_path, text)]
    assert len(labels) == 8 and labels[:2] == ["CoOp, 2 epochs, LR 0.1", "CoOp, 2 epochs, LR 0.2"]
    assert labels[-1] == "VPT, 5 epochs, LR 0.2"


def test_a_row_goes_before_the_top_of_the_file(tmp_path):
    text = """
dataset: emojinet
seeds: [1, 2]
set: {OPTIM.LR: 0.1}
rows:
  - {trainer: CoOp}
  - {trainer: CoOp, label: slow, seed: 7, shots: 4, set: {OPTIM.LR: 0.01, OPTIM.MOMENTUM: 0.5}}
"""
    first, second = rows(tmp_path, text)
    assert first.seeds == (1, 2) and dict(first.options) == {"OPTIM.LR": 0.1}
    assert second.label == "slow" and second.seeds == (7,) and second.shots == 4
    assert dict(second.options) == {"OPTIM.LR": 0.01, "OPTIM.MOMENTUM": 0.5}


def test_the_command_line_goes_before_the_file(tmp_path):
    text = "{dataset: dtd, rows: [{trainer: CoOp, seeds: [4], set: {OPTIM.LR: 0.1}}]}"
    (row,) = rows(tmp_path, text, "seeds=1,2", "datasets=emojinet", "OPTIM.LR=0.5", "epochs=null", "tag=")
    assert (row.seeds, row.datasets, row.epochs, row.tag) == ((1, 2), ("emojinet",), None, "")
    assert dict(row.options) == {"OPTIM.LR": 0.5}


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("{trianer: CoOp, dataset: emojinet}", "no key 'trianer' in the specification mine: did you mean 'trainer'?"),
        ("{trainer: CoOp, dataset: emojinet, rows: [{lable: x}]}", "row 1 of mine: did you mean 'label'?"),
        ("{trainer: CoOp}", "names no datasets"),
        ("{dataset: emojinet}", "names no trainers"),
        ("{trainer: CoOp, dataset: emojinet, protocol: cross_data}", "did you mean 'cross_dataset'?"),
        ("{trainer: CoOp, dataset: emojinet, subset: old}", "known are all, base, new"),
        ("{trainer: CoOp, dataset: emojinet, seeds: one}", "must hold whole numbers"),
        ("{trainer: CoOp, trainers: [VPT], dataset: emojinet}", "trainers is given twice"),
        ("{trainer: CoOp, dataset: emojinet, set: [OPTIM.LR]}", "KEY: VALUE pairs"),
        ("{dataset: emojinet, rows: [{trainer: CoOp}, {trainer: CoOp}]}", "Two rows"),
        ("{trainer: CoOp, dataset: emojinet, name: ../x}", "one word"),
        ("{trainer: CoOp, dataset: emojinet, rows: []}", "must be a list of rows"),
        ("[CoOp]", "must hold keys"),
        ("!!python/object/apply:os.system ['touch x']", "is not a yaml file"),
    ],
)
def test_what_cannot_be_meant(tmp_path, text, sentence):
    with pytest.raises(ValueError, match="(?s).*") as caught:
        rows(tmp_path, text)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("change, sentence", [("seeds", "not KEY=VALUE"), ("sede=1", "did you mean 'seed'?")])
def test_a_change_that_cannot_be_meant(tmp_path, change, sentence):
    with pytest.raises(ValueError) as caught:
        rows(tmp_path, "{trainer: CoOp, dataset: emojinet}", change)
    assert sentence in str(caught.value)


def test_ready_specifications_are_found_by_name_and_have_a_demo_twin():
    names = {path.stem for path in SPECS.glob("*.yaml")} - {"base2new"}
    assert {"table1", "table2_3", "table4", "table5", "choices", "fig1", "fig4", "newer", "shift_gradient"} == names
    assert {path.stem for path in SPECS.glob("demo/*.yaml")} == names
    assert find_spec("demo/table1") == SPECS / "demo/table1.yaml"
    assert read_spec(find_spec("demo/table1"))["name"] == "demo_table1"
    with pytest.raises(FileNotFoundError, match="did you mean 'table4'"):
        find_spec("tabel4")
