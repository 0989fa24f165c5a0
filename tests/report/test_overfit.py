"""What methods gain on base classes and lose on new ones, over methods and over epochs."""

import json

import pytest
from scipy.stats import rankdata, spearmanr

from report.correlation import ranks, spearman


def test_changes_from_zero_shot_clip(rich, show, cells):
    code, out, err = show("overfit", rich)
    rows = {row[0]: row[1:] for table in cells(out) for row in table}
    assert (code, err) == (0, "") and out.startswith("Overfit to base classes: ViT-B/16, 16 shots a class")
    assert rows["OxfordPets"][-1] == "seeds" and max(map(len, out.splitlines())) <= 80
    first = {row[0]: row[1:3] for row in cells(out)[0]}
    # CoOp: 70 and 71 against 60 on base, 50 and 51 against 60 on new
    assert first["CoOp"] == ["+10.5 ± 0.5", "-9.5 ± 0.5"] and first["IVLP"] == ["+5.5 ± 0.5", "-4.5 ± 0.5"]
    assert "too few methods for a correlation" in " ".join(out.split())
    assert "+10.5 ± 0.5" in show("overfit", rich, "--format", "markdown")[1]


def test_the_course_over_epochs(rich, put, show, cells):
    for file in rich.rglob("history.json"):
        shift = [{"text": {"mean": [n, n + 2.0]}, "vision": {"mean": [0.0, 1.0]}} for n in (1.0, 2.0, 3.0)]
        entries = [{"epoch": n, "losses": {}, "feature_shift": one} for n, one in enumerate(shift, 1)]
        file.write_text(json.dumps(entries))
    for subset, accuracy in (("base", 66.0), ("new", 58.0)):
        put("CoOp", subset, 1, accuracy, name="early", epoch=2, mode="eval", experiment="CoOp-vit")
    tables = {table[0][0]: table for table in cells(show("overfit", rich)[1])}
    course = tables["Discrepancy in training"]
    assert course[0][1:4] == ["epoch 1", "epoch 2", "epoch 3"]
    assert course[1][:3] == ["CoOp (vit)", "1.500 ± 0.000", "2.500 ± 0.000"]  # the one of ten epochs
    early = {row[0]: row[1:3] for row in tables["Gain on base classes"]}
    assert early["Gain on base classes"] == ["epoch 2", "epoch 10"]
    assert ["+6.0", "+10.5 ± 0.5"] in early.values()


def test_without_zero_shot_clip_it_says_what_is_needed(put, output, show):
    put("CoOp", "base", 1, 60.0)
    code, out, err = show("overfit", output)
    assert (code, out) == (2, "") and "Overfit needs zero-shot CLIP" in err and "python sweep.py table1" in err


@pytest.mark.parametrize("pairs", [[(1, 2), (2, 1), (3, 5), (4, 4), (5, 9), (6, 9)], [(1, 3), (1, 1), (2, 2), (5, 0)]])
def test_spearman_is_scipys(pairs):
    first, second = zip(*pairs, strict=True)
    found = spearman(first, second)
    assert found.rho == pytest.approx(spearmanr(first, second).statistic) and ranks(first) == rankdata(first).tolist()
    assert (found.interval is None) == (len(pairs) < 5)
    assert found.interval is None or -1 <= found.interval[0] < found.rho < found.interval[1] <= 1


def test_spearman_needs_something_that_varies():
    assert spearman([1, 2], [1, 2]) is None and spearman([1, 1, 1], [1, 2, 3]) is None
    assert spearman([1, 2, 3, 4, 5], [2, 4, 6, 8, 9]).interval == (1.0, 1.0)
