"""Figures: drawn where there are data, named where not; what the numbers in them are."""

import json

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason='figures need Matplotlib: pip install ".[report]"')
pytest.importorskip("sklearn", reason='Fig. 5 needs scikit-learn: pip install ".[report]"')

from report.figures import curves, discrepancy, draw, probability, shift, tsne
from report.statistics import Summary
from report.tables import read_tree


def test_every_figure_of_a_rich_tree(rich, show, tmp_path):
    code, out, err = show("figures", rich, "-o", tmp_path / "figures")
    assert (code, err) == (0, "")
    stems = ["fig1", "fig3", "fig4", "fig5_OxfordPets", "curves_OxfordPets_base"]
    assert out.splitlines() == [f"{tmp_path}/figures/{stem}.{end}" for stem in stems for end in ("png", "pdf")]
    for stem in stems:
        assert (tmp_path / "figures" / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "figures" / f"{stem}.pdf").read_bytes().startswith(b"%PDF")


def test_the_same_runs_give_the_same_files(rich, show, tmp_path):
    for folder in ("a", "b"):
        show("figures", rich, "-o", tmp_path / folder, "--figure", "1", "4")
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["fig1.pdf", "fig1.png", "fig4.pdf", "fig4.png"]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_what_lacks_its_data_is_named_and_not_drawn(put, output, show, tmp_path):
    put("CoOp", "base", 1, 60.0, mean_true_probability=0.5)
    put("CoOp", "new", 1, 50.0, mean_true_probability=0.4)
    code, out, err = show("figures", output, "-o", tmp_path / "figures")
    assert code == 0 and len(out.splitlines()) == 2
    assert [line.split(" need")[0] for line in err.splitlines()] == ["Fig. 3", "Fig. 4", "Fig. 5", "Training curves"]
    assert all("`python sweep.py " in line for line in err.splitlines())
    code, _, err = show("figures", output, "-o", tmp_path / "none", "--figure", "4")
    assert code == 2 and "No figure can be drawn" in err and not (tmp_path / "none").exists()


def test_the_bars_of_figure_1(rich):
    ((stem, figure),) = probability.draw(read_tree(rich))
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["zero-shot CLIP", "CoOp", "IVLP"]
    widths = [[round(bar.get_width(), 6) for bar in axis.patches] for axis in (left, right)]
    assert widths == [[50.0, 60.0, 55.0, 50.0, 40.0, 45.0], [60.0, 70.5, 65.5, 60.0, 50.5, 55.5]]
    assert stem == "fig1"


def test_the_points_and_the_correlation_of_figure_3(rich):
    tree = read_tree(rich)
    rows = {row.trainer: row for row in tree.rows}
    found = discrepancy.points([(name, rows[name]) for name in ("CoOp", "IVLP")], rows["ZeroshotCLIP"], ["OxfordPets"])
    got = [(label, subset, round(x.mean, 6), round(y.mean, 6)) for label, subset, x, y in found]
    assert got == [
        ("CoOp", "base", 1.5, 10.5),
        ("CoOp", "new", 1.5, -9.5),
        ("IVLP", "base", 0.75, 5.5),
        ("IVLP", "new", 0.75, -4.5),
    ]
    ((_, figure),) = discrepancy.draw(tree)
    assert "Pearson's r = 0.00, 4 points" in figure.axes[0].get_title()


def test_a_correlation_that_is_known():
    points = [("m", "base", Summary({1: x}), Summary({1: y})) for x, y in [(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]]
    assert discrepancy.correlation(points) == pytest.approx(-1.0)
    assert discrepancy.correlation(points[:2]) is None
    assert discrepancy.correlation([points[0]] * 3) is None


def test_the_lines_of_figure_4(rich):
    ((_, figure),) = shift.draw(read_tree(rich))
    text, vision = figure.axes[:2]
    assert [line.get_label() for line in text.lines] == ["CoOp", "IVLP"]  # zero-shot CLIP shifts nothing
    assert list(text.lines[1].get_ydata()) == pytest.approx([0.5, 1.0]) and list(text.lines[1].get_xdata()) == [1, 2]
    assert list(vision.lines[0].get_ydata()) == [0.0, 0.0]
    (band,) = (one for one in text.collections[1:2])
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.49, 1.02))


def test_the_points_of_figure_5(rich):
    ((stem, figure),) = tsne.draw(read_tree(rich))
    assert stem == "fig5_OxfordPets" and len(figure.axes) == 6
    images, texts = figure.axes[0].collections
    assert (len(images.get_offsets()), len(texts.get_offsets())) == (12, 2)
    assert texts.get_sizes()[0] > 5 * images.get_sizes()[0]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(file.read_bytes()[:100]),
        lambda file: file.write_bytes(b"not an archive"),
        lambda file: np.savez(file, image_features=np.zeros((4, 2))),
        lambda file: np.savez(
            file, image_features=np.zeros((4, 2)), labels=np.zeros(3, int), text_features=np.zeros((1, 2))
        ),
        lambda file: np.savez(
            file, image_features=np.array([print] * 4), labels=np.zeros(4, int), text_features=np.zeros(1)
        ),
    ],
)
def test_damaged_features_are_told_and_run_nothing(rich, spoil):
    for file in rich.rglob("features.npz"):
        spoil(file)
    assert tsne.read(file) is None
    ((_, figure),) = tsne.draw(read_tree(rich))
    assert all("not kept" in axis.get_title() and not axis.collections for axis in figure.axes)


def test_the_curves(rich):
    found = dict(curves.draw(read_tree(rich)))
    assert list(found) == ["curves_OxfordPets_base"]
    losses, accuracies = found["curves_OxfordPets_base"].axes
    assert list(losses.lines[0].get_ydata()) == pytest.approx([3.5, 2.5, 2 / 3 + 1.5])  # mean of seeds 1 and 2
    assert list(accuracies.lines[0].get_ydata()) == [51.0, 52.0, 53.0]


@pytest.mark.parametrize("content", ["{", "{}", "[3]", '[{"epoch": "x"}]'])
def test_a_damaged_history_is_no_curve(rich, content):
    for file in rich.rglob("history.json"):
        file.write_text(content)
    assert curves.draw(read_tree(rich)) == []


def test_methods_can_be_chosen_and_backbones_kept_apart(rich, put):
    put("CoOp", "base", 1, 60.0, name="rn", backbone="RN50", mean_true_probability=0.5)
    put("CoOp", "new", 1, 50.0, name="rn", backbone="RN50", mean_true_probability=0.5)
    figures, lacking = draw.draw(read_tree(rich), ["1"], ["coop"])
    assert list(figures) == ["fig1", "fig1-2"] and lacking == []
    assert [len(figure.axes[0].patches) for figure in figures.values()] == [2, 2]


def test_numbers_that_are_none_are_not_drawn(put, output):
    for subset in ("base", "new"):
        run = put("CoOp", subset, 1, 60.0)
        record = json.loads((run / "metrics.json").read_text())
        record |= {"mean_true_probability": float("nan"), "discrepancy": ["x"], "feature_shift": {"text": 3}}
        (run / "metrics.json").write_text(json.dumps(record))
    figures, lacking = draw.draw(read_tree(output))
    assert not figures and len(lacking) == 5
