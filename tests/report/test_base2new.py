"""The base-to-new table from a tree of known numbers, and from trees that lack them."""

import json

import pytest

from report import base2new


def put(output, trainer, subset, seed, accuracy, **more):
    """Write one complete record into the family's tree below `output`."""
    config = more.pop("config", "vit")
    part = "train_base" if subset == "base" else "test_new"
    run = output / part / "pets" / "shots_16" / trainer / config / f"seed{seed}"
    run.mkdir(parents=True, exist_ok=True)
    record = {
        "complete": True,
        "mode": "train" if subset == "base" else "eval",
        "trainer": trainer,
        "dataset": "OxfordPets",
        "subsample_classes": subset,
        "shots": 16,
        "seed": seed,
        "epoch": 10,
        "backbone": "ViT-B/16",
        "experiment": config,
        "accuracy": accuracy,
    }
    (run / "metrics.json").write_text(json.dumps(record | more))
    return run


def show(capsys, *argv):
    code = base2new.main([str(part) for part in argv])
    streams = capsys.readouterr()
    return code, streams.out, streams.err


def cells(out):
    """The rows of the table as lists of cells."""
    lines = out.splitlines()
    ruled = next(number for number, line in enumerate(lines) if line.startswith("---"))
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[ruled + 1 :] if line]


def test_every_cell_of_a_known_tree(tmp_path, capsys):
    for seed, base, new in [(1, 60.0, 40.0), (2, 80.0, 40.0), (3, 70.0, 70.0)]:
        put(tmp_path, "RESTORE_m", "base", seed, base)
        put(tmp_path, "RESTORE_m", "new", seed, new)
    put(tmp_path, "ZeroshotCLIP", "base", 1, 50.0, epoch=None)
    put(tmp_path, "ZeroshotCLIP", "new", 1, 75.0, epoch=None)
    code, out, err = show(capsys, tmp_path)
    assert (code, err) == (0, "")
    # harmonic means 48, 53.333, 70: mean 57.111, population deviation sqrt(87.80) = 9.37
    assert cells(out) == [
        ["zero-shot CLIP", "50.0", "75.0", "60.0", "1"],
        ["RESTORE_m", "70.0 ± 8.2", "50.0 ± 14.1", "57.1 ± 9.4", "3"],
    ]
    assert "OxfordPets, ViT-B/16, 16 shots a class" in out
    assert max(map(len, out.splitlines())) <= 80


def test_missing_parts_are_shown_as_missing(tmp_path, capsys):
    put(tmp_path, "CoOp", "base", 1, 60.0)
    put(tmp_path, "MaPLe", "base", 1, 60.0)
    put(tmp_path, "MaPLe", "base", 2, 62.0)
    put(tmp_path, "MaPLe", "new", 2, 62.0)
    assert cells(show(capsys, tmp_path)[1]) == [
        ["CoOp", "60.0", "missing", "missing", "1 base, 0 new"],
        ["MaPLe", "61.0 ± 1.0", "62.0", "62.0", "2 base, 1 new"],
    ]


def test_configurations_of_one_method_are_kept_apart(tmp_path, capsys):
    put(tmp_path, "CoOp", "base", 1, 60.0, config="ep10")
    put(tmp_path, "CoOp", "base", 1, 50.0, config="ep50", epoch=50)
    assert [row[:2] for row in cells(show(capsys, tmp_path)[1])] == [["CoOp (ep10)", "60.0"], ["CoOp (ep50)", "50.0"]]


def test_data_sets_are_kept_apart(tmp_path, capsys):
    put(tmp_path, "CoOp", "base", 1, 60.0)
    put(tmp_path, "MaPLe", "base", 1, 50.0, dataset="Food101")
    out = show(capsys, tmp_path)[1]
    assert out.index("Food101") < out.index("MaPLe") < out.index("OxfordPets") < out.index("CoOp")
    assert "Food101" not in show(capsys, tmp_path, "--dataset", "oxfordpets")[1]


def test_damaged_and_unfinished_records_are_named_and_left_out(tmp_path, capsys):
    put(tmp_path, "CoOp", "base", 1, 60.0)
    damaged = put(tmp_path, "CoOp", "base", 2, 70.0) / "metrics.json"
    damaged.write_text(damaged.read_text()[:50])
    unfinished = put(tmp_path, "CoOp", "base", 3, 70.0, complete=False)
    code, out, err = show(capsys, tmp_path)
    assert code == 0 and cells(out)[0][1] == "60.0"
    assert err == f"{damaged} is damaged, left out\n{unfinished} is unfinished, left out\n"


def test_an_empty_tree_gets_a_sentence(tmp_path, capsys):
    code, out, err = show(capsys, tmp_path)
    assert (code, out) == (2, "") and "There is no metrics.json below" in err
    code, _, err = show(capsys, tmp_path / "no")
    assert code == 2 and "There is no directory" in err


def test_an_unknown_data_set_lists_those_there(tmp_path, capsys):
    put(tmp_path, "CoOp", "base", 1, 60.0)
    code, _, err = show(capsys, tmp_path, "--dataset", "Food101")
    assert code == 2 and "of Food101" in err and "some of OxfordPets" in err


@pytest.mark.parametrize(("base", "new", "expected"), [(0.0, 0.0, 0.0), (50.0, 50.0, 50.0), (100.0, 0.0, 0.0)])
def test_harmonic_mean_at_its_edges(base, new, expected):
    assert base2new.harmonic_mean(base, new) == expected
