"""Tests over images and seeds: small cases counted out, scipy's tests, and that nothing is found where nothing is."""

import csv
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from scipy.stats import bootstrap as scipy_bootstrap

from report.significance import LEVEL, Pair, bootstrap, holm, permutation_p


def of(first, second):
    """A pair of one half: (S, N) nested lists of rights."""
    first, second = (np.array(part, dtype=bool).T for part in (first, second))
    return Pair(tuple(range(first.shape[1])), (first,), (second,))


def counted(both):
    """The permutation test's p, every way to swap the methods' names counted."""
    reached, total = 0, 0
    observed = abs(np.subtract(*both.values()))
    halves = list(zip(both.first, both.second, strict=True))
    for swaps in product(*(product([False, True], repeat=len(a)) for a, _ in halves)):
        swapped = [
            (np.where(np.array(s)[:, None], b, a), np.where(np.array(s)[:, None], a, b))
            for s, (a, b) in zip(swaps, halves, strict=True)
        ]
        other = Pair(both.seeds, *map(tuple, zip(*swapped, strict=True)))
        reached += abs(np.subtract(*other.values())) >= observed - 1e-9
        total += 1
    return reached / total


def test_p_is_that_of_every_swap():
    one = of([[0, 0, 1, 0, 1, 1], [0, 1, 1, 0, 0, 1]], [[1, 1, 1, 0, 1, 0], [1, 1, 1, 1, 0, 1]])
    assert permutation_p(one) == pytest.approx(counted(one), abs=0.02)
    halves = of([[0, 0, 1, 0]], [[1, 1, 1, 0]]), of([[1, 1, 0, 0, 1]], [[1, 0, 1, 1, 1]])
    both = Pair((0,), halves[0].first + halves[1].first, halves[0].second + halves[1].second)
    assert permutation_p(both) == pytest.approx(counted(both), abs=0.02)


def test_one_seed_is_mcnemars_exact_test():
    gained, lost = 30, 14
    first = [[0] * gained + [1] * lost + [1] * 200]
    second = [[1] * gained + [0] * lost + [1] * 200]
    expected = binomtest(gained, gained + lost, 0.5).pvalue
    assert permutation_p(of(first, second)) == pytest.approx(expected, abs=0.005)


def test_the_interval_of_one_seed_is_that_of_its_images():
    random = np.random.default_rng(1)
    first = random.random(300) < 0.6
    second = np.where(random.random(300) < 0.2, random.random(300) < 0.9, first)
    differences = 100 * (second.astype(float) - first)
    other = scipy_bootstrap((differences,), np.mean, method="percentile", rng=np.random.default_rng(2))
    assert bootstrap(of([first], [second])) == pytest.approx(tuple(other.confidence_interval), abs=0.5)


def test_images_are_not_drawn_anew_for_every_seed():
    """Three seeds that say the same know no more than one: an interval that shrank would count an image three times."""
    random = np.random.default_rng(3)
    first, second = random.random(200) < 0.6, random.random(200) < 0.7
    one, three = of([first], [second]), of([first] * 3, [second] * 3)
    assert bootstrap(three) == pytest.approx(bootstrap(one), abs=0.6)
    assert permutation_p(three) == pytest.approx(permutation_p(one), abs=0.02)


def test_seeds_that_disagree_widen_the_interval():
    steady = of([[1, 0] * 100] * 3, [[1, 1] * 100] * 3)
    shaky = of([[1, 0] * 100] * 3, [[1, 1] * 100, [1, 0] * 100, [1, 1] * 100])
    (low, high), (down, up) = bootstrap(steady), bootstrap(shaky)
    assert up - down > 2 * (high - low)


def test_nothing_is_found_as_often_as_the_level_says():
    random = np.random.default_rng(4)
    found = [
        permutation_p(of(random.random((1, 150)) < 0.5, random.random((1, 150)) < 0.5), draws=999) <= LEVEL
        for _ in range(400)
    ]
    assert 0.01 < np.mean(found) < 0.09


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == [] and holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_only_raises(values):
    adjusted = holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, adjusted, strict=True))
    ordered = [adjusted[place] for place in sorted(range(len(values)), key=values.__getitem__)]
    assert ordered == sorted(ordered)


# ---- in tables and on the command line ----


@pytest.fixture
def answered(put):
    """answered(trainer, subset, seed, rights): a run whose predictions are right where `rights` say so."""

    def write(trainer, subset, seed, rights, **more):
        rights = list(rights)
        run = put(trainer, subset, seed, 100 * sum(rights) / len(rights), classnames=["a", "b"], **more)
        with (run / "predictions.csv").open("w") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label", "prediction", "true_probability", "top5"])
            writer.writerows([f"{subset}{n}.png", 0, 0 if right else 1, 0.5, "0 1"] for n, right in enumerate(rights))
        return run

    return write


@pytest.fixture
def three(answered, output):
    """MaPLe is nearly RESTORE_m on base classes, CoOp is far off; on new ones MaPLe has one image too few."""
    for seed in (1, 2):
        answered("RESTORE_m", "base", seed, [True] * 80 + [False] * 20)
        answered("MaPLe", "base", seed, [True] * 78 + [False] * 22)
        answered("CoOp", "base", seed, [True] * 50 + [False] * 50)
        for trainer, count in (("RESTORE_m", 60), ("MaPLe", 60), ("CoOp", 60)):
            answered(trainer, "new", seed, [True] * count + [False] * (40 - (trainer == "MaPLe")))
    answered("ZeroshotCLIP", "base", 1, [True] * 79 + [False] * 21, mode="eval")
    return output


def test_tables_mark_what_cannot_be_told_from_the_best(three, show, cells):
    rows = {row[0]: row[1:] for row in cells(show("tables", three)[1])[0]}
    assert rows["RESTORE_m"][0] == "80.0 ± 0.0 *" and rows["MaPLe"][0] == "78.0 ± 0.0 ≈"
    assert rows["zero-shot CLIP"][0] == "79.0 ≈"  # its one run stands for both seeds
    assert rows["CoOp"][0] == "50.0 ± 0.0"
    out = show("tables", three, "--format", "markdown")[1]
    assert "| **80.0 ± 0.0** |" in " ".join(out.split()) and "78.0 ± 0.0 ≈" in out and "Holm" in out
    assert r"78.0 $\pm$ 0.0 $\approx$" in show("tables", three, "--format", "latex")[1]
    lines = csv.DictReader(show("tables", three, "--format", "csv")[1].splitlines())
    found = {(line["method"], line["column"]): line["not_told_from_best"] for line in lines}
    assert (found["MaPLe", "base"], found["CoOp", "base"], found["RESTORE_m", "base"]) == ("1", "0", "0")


def test_marks_can_be_left_out(three, show):
    assert "≈" in show("tables", three)[1] and "≈" not in show("tables", three, "--no-marks")[1]


def test_predictions_that_do_not_give_the_number_prove_nothing(three, show, cells, put):
    put("MaPLe", "base", 1, 79.0)
    out = show("tables", three)[1]
    rows = {row[0]: row[1:] for row in cells(out)[0]}
    assert rows["MaPLe"][0] == "78.5 ± 0.5" and "Not every number was tested" in " ".join(out.split())


def test_compare_says_whether_they_differ(three, show):
    code, out, err = show("compare", "coop", "RESTORE_m", three)
    (row,) = [line.split() for line in out.splitlines() if line.startswith("base ")]
    assert (code, err) == (0, "") and row[:4] == ["base", "50.0", "80.0", "+30.0"] and row[-2:] == ["30.0", "0.0"]
    assert "B is better than A: base; H." in out and max(map(len, out.splitlines())) <= 80
    out = show("compare", "RESTORE_m", "MaPLe", three)[1]
    assert "They cannot be told apart: base." in out  # of new classes, they have different images


def test_compare_has_what_was_tested_on_all_classes(three, answered, show):
    for trainer, right in (("CoOp", 40), ("RESTORE_m", 70)):
        joint = {"base_accuracy": 100.0 * right / 80, "new_accuracy": None, "harmonic_mean": None}
        more = {"protocol": "base2new", "mode": "eval", "joint": joint}
        run = answered(trainer, "all", 1, [True] * right + [False] * (80 - right), **more)
        rows = (run / "predictions.csv").read_text().splitlines()
        rows += [f"new{n}.png,1,1,0.5,0 1" for n in range(20)]  # class b is new
        (run / "predictions.csv").write_text("\n".join(rows))
    out = show("compare", "CoOp", "RESTORE_m", three)[1]
    (row,) = [line.split() for line in out.splitlines() if line.startswith("base of all ")]
    assert row[3:6] == ["50.0", "87.5", "+37.5"] and max(map(len, out.splitlines())) <= 80


def test_compare_says_what_was_chosen_on_test_images(three, answered, show):
    answered("MaPLe", "base", 1, [True] * 78 + [False] * 22, selected_on="test")
    assert "† Something of B was chosen" in show("compare", "CoOp", "MaPLe", three)[1]
    assert "†" not in show("compare", "CoOp", "RESTORE_m", three)[1]


def test_compare_needs_two_that_are_there(three, show, put):
    code, _, err = show("compare", "RESTORE", "CoOp", three)
    assert code == 2 and "did you mean 'RESTORE_m'" in err
    put("KgCoOp", "base", 1, 50.0)
    code, _, err = show("compare", "KgCoOp", "CoOp", three)
    assert code == 2 and "KgCoOp lacks the predictions.csv behind base" in err
    code, _, err = show("compare", "CoOp", "CoOp", three)
    assert code == 2
