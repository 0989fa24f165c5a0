"""Table 1 from a tree of known numbers, every cell in every format; what is missing; what two data sets make of it."""

import csv
import io
import re

import pytest


@pytest.fixture
def known(put, output):
    """Three seeds of RESTORE_m, one of zero-shot CLIP."""
    for seed, base, new in [(1, 60.0, 40.0), (2, 80.0, 40.0), (3, 70.0, 70.0)]:
        put("RESTORE_m", "base", seed, base)
        put("RESTORE_m", "new", seed, new)
    put("ZeroshotCLIP", "base", 1, 50.0, mode="eval")
    put("ZeroshotCLIP", "new", 1, 75.0)
    return output


# harmonic means 48, 53.333, 70: mean 57.111, population deviation sqrt(87.80) = 9.3703, sample deviation 11.4762
# 95 %: t(0.975, 2) = 4.3027; half widths 10 * 4.3027 / sqrt(3) = 24.84, 17.3205 -> 43.03, 11.4762 -> 28.51
def test_every_cell_on_a_terminal(known, show, cells):
    code, out, err = show("tables", known)
    assert (code, err) == (0, "")
    assert out.startswith("Table 1. Base-to-new generalisation: ViT-B/16, 16 shots a class\n")
    assert cells(out) == [
        [
            ["OxfordPets", "base", "new", "H", "seeds"],
            ["zero-shot CLIP", "50.0", "75.0 *", "60.0 *", "1"],
            ["RESTORE_m", "70.0 ± 8.2 *", "50.0 ± 14.1", "57.1 ± 9.4", "3"],
        ]
    ]
    assert max(map(len, out.splitlines())) <= 80
    assert "standard deviation over seeds (population, ddof 0" in out


def test_every_cell_with_intervals(known, show, cells):
    out = show("tables", known, "--spread", "ci95", "--digits", "2")[1]
    assert cells(out)[0][2] == ["RESTORE_m", "70.00 ± 24.84 *", "50.00 ± 43.03", "57.11 ± 28.51", "3"]
    assert "half width of the 95 % interval" in out


def test_every_cell_in_markdown(known, show):
    out = show("tables", known, "--format", "markdown")[1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if line.startswith("|")]
    assert rows[0] == ["OxfordPets", "base", "new", "H", "seeds"]
    assert set("".join(rows[1])) <= set("-:")
    assert rows[2:] == [
        ["zero-shot CLIP", "50.0", "**75.0**", "**60.0**", "1"],
        [r"RESTORE\_m", "**70.0 ± 8.2**", "50.0 ± 14.1", "57.1 ± 9.4", "3"],
    ]


def test_every_cell_in_latex(known, show):
    out = show("tables", known, "--format", "latex")[1]
    assert r"zero-shot CLIP & 50.0 & \textbf{75.0} & \textbf{60.0} & 1 \\" in out
    assert r"RESTORE\_m & \textbf{70.0 $\pm$ 8.2} & 50.0 $\pm$ 14.1 & 57.1 $\pm$ 9.4 & 3 \\" in out
    assert r"OxfordPets & base & new & H & seeds \\" in out
    begun, ended = (re.findall(rf"\\{word}{{(.*?)}}", out) for word in ("begin", "end"))
    assert sorted(begun) == sorted(ended) == ["table*", "tabular"]
    assert r"95 \%" not in out and out.count(r"\toprule") == out.count(r"\bottomrule") == 1


def test_every_cell_in_csv(known, show):
    lines = list(csv.DictReader(io.StringIO(show("tables", known, "--format", "csv")[1])))
    got = {(one["method"], one["column"]): one for one in lines}
    assert len(lines) == 6 and {one["block"] for one in lines} == {"OxfordPets"}
    keys = ("mean", "std", "ci95_half_width", "seeds", "seed_list", "best")
    expected = {
        ("zero-shot CLIP", "base"): ("50.0000", "", "", "1", "1", "0"),
        ("zero-shot CLIP", "new"): ("75.0000", "", "", "1", "1", "1"),
        ("zero-shot CLIP", "H"): ("60.0000", "", "", "1", "1", "1"),
        ("RESTORE_m", "base"): ("70.0000", "8.1650", "24.8414", "3", "1 2 3", "1"),
        ("RESTORE_m", "new"): ("50.0000", "14.1421", "43.0265", "3", "1 2 3", "0"),
        ("RESTORE_m", "H"): ("57.1111", "9.3703", "28.5085", "3", "1 2 3", "0"),
    }
    assert {key: tuple(one[name] for name in keys) for key, one in got.items()} == expected


def test_bold_on_a_terminal_that_knows_it(known, show, monkeypatch):
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert "\x1b[1m75.0\x1b[0m" in show("tables", known)[1]


def test_a_file_is_written_and_named(known, show, tmp_path):
    code, out, _ = show("tables", known, "-o", tmp_path / "new" / "table.txt")
    assert code == 0 and out == f"{tmp_path}/new/table.txt: Table 1\n"
    assert "57.1 ± 9.4" in (tmp_path / "new" / "table.txt").read_text()


def test_missing_parts_are_shown_as_missing(put, output, show, cells):
    put("CoOp", "base", 1, 60.0)
    put("MaPLe", "base", 1, 60.0)
    put("MaPLe", "base", 2, 62.0)
    put("MaPLe", "new", 2, 62.0)
    put("MaPLe", "new", 1, 62.0, complete=False)
    code, out, err = show("tables", output)
    assert cells(out)[0][1:] == [
        ["CoOp", "60.0", "missing", "missing", "1 base, 0 new"],
        ["MaPLe", "61.0 ± 1.0 *", "62.0", "62.0", "2 base, 1 new (+1 unfinished)"],
    ]
    assert code == 0 and err == f"{output}/new/OxfordPets/MaPLe/vit/seed1 is unfinished, left out\n"


def test_an_evaluation_stands_for_the_training_it_repeats(put, output, show, cells):
    put("CoOp", "base", 1, 60.0)
    put("CoOp", "base", 1, 64.0, name="again", mode="eval", experiment="CoOp-vit")
    assert cells(show("tables", output)[1])[0][1][:2] == ["CoOp", "64.0"]


def test_the_average_over_data_sets(put, output, show, cells):
    for seed, pets, food in [(1, 80.0, 40.0), (2, 90.0, 50.0)]:
        put("CoOp", "base", seed, pets)
        put("CoOp", "base", seed, food, "Food101")
        put("CoOp", "new", seed, 50.0)
        put("CoOp", "new", seed, 70.0, "Food101")
    put("MaPLe", "base", 1, 99.0)
    put("MaPLe", "new", 1, 99.0)
    average, pets, food = cells(show("tables", output)[1])
    # base 60, 70 and new 60, 60 a seed: H 60 and 64.615
    assert average == [
        ["Average over 2 data sets", "base", "new", "H", "seeds"],
        ["CoOp", "65.0 ± 5.0", "60.0 ± 0.0", "62.3 ± 2.3", "2"],
        ["MaPLe", "missing", "missing", "missing", "0 (1/2)"],
    ]
    assert (pets[0][0], food[0][0]) == ("OxfordPets", "Food101")  # the paper's order
    assert [row[0] for row in food] == ["Food101", "CoOp"]


def test_a_seed_that_lacks_a_data_set_is_not_in_the_average(put, output, show, cells):
    for seed, dataset, accuracy in [(1, "OxfordPets", 50.0), (2, "OxfordPets", 90.0), (1, "Food101", 60.0)]:
        put("CoOp", "base", seed, accuracy, dataset)
        put("CoOp", "new", seed, accuracy, dataset)
    assert cells(show("tables", output)[1])[0][1] == ["CoOp", "55.0", "55.0", "55.0", "1"]


def test_weights_of_one_name_that_are_not_the_same_have_tables_of_their_own(put, output, show, cells):
    """A file that was replaced; a run that recorded no digest belongs to neither."""
    for name, weights, accuracy in (("a", "1" * 64, 50.0), ("b", "2" * 64, 90.0), ("c", None, 70.0)):
        more = {"backbone_sha256": weights} if weights else {}
        put("CoOp", "base", 1, accuracy, name=name, backbone="clip.pt", **more)
        put("CoOp", "new", 1, accuracy, name=name, backbone="clip.pt", **more)
    put("MaPLe", "base", 1, 60.0, backbone="ViT-B/16", backbone_sha256="3" * 64)
    put("MaPLe", "base", 2, 60.0, backbone="ViT-B/16")  # an earlier run; one digest is known of that name
    titles = re.findall("Table 1.*: (.*)", show("tables", output)[1])
    assert [title.partition(",")[0] for title in titles] == [
        *("ViT-B/16", "clip.pt [11111111]", "clip.pt [22222222]", "clip.pt [weights not recorded]"),
    ]


def test_shots_and_backbones_have_tables_of_their_own(put, output, show, cells):
    put("ZeroshotCLIP", "base", 1, 50.0)
    put("CoOp", "base", 1, 60.0)
    put("CoOp", "base", 1, 55.0, name="one", shots=1)
    put("CoOp", "base", 1, 40.0, name="rn", backbone="RN50")
    out = show("tables", output)[1]
    assert re.findall("Table 1.*: (.*)", out) == [
        "RN50, 16 shots a class",
        "ViT-B/16, 1 shot a class",
        "ViT-B/16, 16 shots a class",
    ]
    assert [[row[:2] for row in table[1:]] for table in cells(out)] == [
        [["CoOp", "40.0"]],
        [["zero-shot CLIP", "50.0"], ["CoOp (one)", "55.0 *"]],
        [["zero-shot CLIP", "50.0"], ["CoOp (vit)", "60.0 *"]],
    ]


def test_one_data_set_by_name(put, output, show):
    put("CoOp", "base", 1, 60.0)
    put("CoOp", "base", 1, 50.0, "Food101")
    assert "Food101" not in show("tables", output, "--dataset", "oxfordpets")[1]
    code, _, err = show("tables", output, "--dataset", "Nowhere")
    assert code == 2 and "No run of Nowhere" in err and "some of Food101, OxfordPets" in err


def test_a_table_without_runs_names_what_makes_them(put, output, show):
    put("CoOp", "base", 1, 60.0)
    code, out, err = show("tables", output, "--table", "1", "2", "5")
    assert code == 0 and "Table 1" in out
    assert [line.split(" needs")[0] for line in err.splitlines()] == ["Table 2", "Table 5"]
    code, out, err = show("tables", output, "--table", "3")
    assert (code, out) == (2, "") and "Table 3 needs" in err and "python sweep.py table2_3" in err


def test_text_in_records_is_no_markup(put, output, show):
    put("=cmd|x&<b>", "base", 1, 60.0)
    assert r"=cmd\|x&\<b>" in show("tables", output, "--format", "markdown")[1]
    assert r"=cmd|x\&<b>" in show("tables", output, "--format", "latex")[1]
    assert ",'=cmd|x&<b>,'=cmd|x&<b>," in show("tables", output, "--format", "csv")[1]
