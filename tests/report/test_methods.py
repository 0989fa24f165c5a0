"""What rows are called: by what differs, by the labels of a sweep; and which rows a table has."""

import json
from itertools import count

import pytest

from report.methods import group
from report.records import read_records

CONTEXTS = count()


def node(**options):
    """A configuration in which RESTORE_m has these options."""
    return {"OPTIM": {"LR": 0.002}, "TRAINER": {"RESTORE_M": options, "COOP": {"N_CTX": next(CONTEXTS)}}}


@pytest.fixture
def variants(put):
    """RESTORE_m with FS_WEIGHT 0.1, 1 and 10 and guided surgery, and with two other surgeries, on either half."""
    arms = [(0.1, "fs_guided"), (1.0, "fs_guided"), (10.0, "fs_guided"), (1.0, "fixed"), (1.0, "none")]
    for place, (weight, surgery) in enumerate(arms):  # another method's options differ, which means nothing
        name = f"{weight}-{surgery}"
        config = node(FS_WEIGHT=weight, SURGERY=surgery)
        for subset in ("base", "new"):
            put("RESTORE_m", subset, 1, 50.0 + place, name=name, config=config)
    return arms


@pytest.fixture
def sweep(output):
    """sweep("table4", {"label": [directories]}): what sweep.py writes."""

    def write(name, rows):
        (output / "sweeps").mkdir(exist_ok=True)
        listed = [{"label": label, "runs": runs} for label, runs in rows.items()]
        (output / "sweeps" / f"{name}.json").write_text(json.dumps({"name": name, "spec": {}, "rows": listed}))

    return write


def directories(name):
    return [f"{subset}/OxfordPets/RESTORE_m/{name}/seed1" for subset in ("base", "new")]


def test_rows_are_told_apart_by_what_differs(variants, put, output):
    put("CoOp", "base", 1, 60.0, config=node())
    assert [row.label for row in group(read_records(output))] == [
        "CoOp",
        "RESTORE_m (FS_WEIGHT 0.1)",
        "RESTORE_m (SURGERY fixed)",
        "RESTORE_m",
        "RESTORE_m (SURGERY none)",
        "RESTORE_m (FS_WEIGHT 10.0)",
    ]


def test_without_configurations_the_path_tells(put, output):
    put("CoOp", "base", 1, 60.0, name="ep10")
    put("CoOp", "base", 1, 50.0, name="ep50", epoch=50)
    assert [row.label for row in group(read_records(output))] == ["CoOp (ep10)", "CoOp (ep50)"]


def test_another_epoch_is_another_row(put, output):
    config = node() | {"OPTIM": {"MAX_EPOCH": 10}}
    put("CoOp", "base", 1, 60.0, config=config)
    put("CoOp", "base", 1, 50.0, name="early", experiment="CoOp-vit", epoch=5, config=config)
    assert sorted(row.label for row in group(read_records(output))) == ["CoOp", "CoOp (epoch 5)"]


def test_tables_4_and_5_are_found_in_the_configurations(variants, output, show, cells):
    four, five = cells(show("tables", output, "--table", "4", "5")[1])
    assert [row[:2] for row in four[1:]] == [
        ["RESTORE_m, λ_fs = 0.1", "50.0"],
        ["RESTORE_m, λ_fs = 1.0", "51.0"],
        ["RESTORE_m, λ_fs = 10.0", "52.0 *"],
    ]
    assert [row[:2] for row in five[1:]] == [
        ["RESTORE_m, L^fs only", "54.0 *"],
        ["RESTORE_m, + fixed surgery", "53.0"],
        ["RESTORE_m, + FS-guided surgery", "51.0"],
    ]


def test_a_sweep_names_and_orders_its_table_and_keeps_ablations_out_of_table_1(variants, sweep, output, show, cells):
    sweep("table1_demo", {"ours": directories("1.0-fs_guided")})
    sweep("table4_demo", {"ten": directories("10.0-fs_guided"), "one": directories("1.0-fs_guided")})
    sweep("fig4", {"plain": directories("1.0-none")})
    one, four, five = cells(show("tables", output)[1])
    assert [row[0] for row in one[1:]] == ["ours", "RESTORE_m (FS_WEIGHT 0.1)", "RESTORE_m (SURGERY fixed)"]
    assert [row[0] for row in four[1:]] == ["ten", "one"]
    assert len(five) == 4


def test_the_sweep_of_two_tables(transfer, sweep, output, show, cells):
    run = transfer("CoOp", "Food101", 1, 60.0)
    transfer("CoOp", "ImageNetV2", 1, 50.0)
    sweep("table2_3", {"context": [str(run.relative_to(output))]})
    assert [table[1][0] for table in cells(show("tables", output)[1])] == ["context", "context"]


def test_a_part_of_the_tree_still_has_its_labels(variants, sweep, output, show, cells):
    sweep("mine", {"the one": directories("1.0-fs_guided")})
    assert cells(show("tables", output / "base", "--table", "1")[1])[0][1][0] == "the one"


@pytest.mark.parametrize("content", ["{", "[]", '{"rows": 3}', '{"rows": [{"label": "x"}]}', '{"rows": ["x"]}'])
def test_a_damaged_sweep_is_named(put, sweep, output, show, content):
    put("CoOp", "base", 1, 60.0)
    sweep("table1", {})
    (output / "sweeps" / "table1.json").write_text(content)
    code, out, err = show("tables", output)
    assert code == 0 and "CoOp" in out
    assert err == f"{output}/sweeps/table1.json is damaged, its labels are left out\n"
