"""Figures: drawn where there are data, named where not; what the numbers in them are."""

import json
import zipfile

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason='figures need Matplotlib: pip install ".[report]"')
pytest.importorskip("sklearn", reason='Fig. 5 needs scikit-learn: pip install ".[report]"')

from report.figures import base_and_new, curves, draw, tsne
from report.model import Scores
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
    ((stem, figure),) = base_and_new.draw_probability(read_tree(rich))
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["zero-shot CLIP", "CoOp", "IVLP"]
    widths = [[round(bar.get_width(), 6) for bar in axis.patches] for axis in (left, right)]
    assert widths == [[50.0, 60.0, 55.0, 50.0, 40.0, 45.0], [60.0, 70.5, 65.5, 60.0, 50.5, 55.5]]
    assert stem == "fig1"


def test_the_points_and_the_correlation_of_figure_3(rich):
    tree = read_tree(rich)
    methods = {method.trainer: method for method in tree.methods}
    found = base_and_new.points([methods["CoOp"], methods["IVLP"]], methods["ZeroshotCLIP"], ["OxfordPets"])
    got = [(label, subset, round(x.mean, 6), round(y.mean, 6)) for label, subset, x, y in found]
    assert got == [
        ("CoOp", "base", 1.5, 10.5),
        ("CoOp", "new", 1.5, -9.5),
        ("IVLP", "base", 0.75, 5.5),
        ("IVLP", "new", 0.75, -4.5),
    ]
    ((_, figure),) = base_and_new.draw_discrepancy(tree)
    assert "Pearson's r = 0.00, 4 points" in figure.axes[0].get_title()


def test_a_correlation_that_is_known():
    points = [("m", "base", Scores({1: x}), Scores({1: y})) for x, y in [(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]]
    assert base_and_new.correlation(points) == pytest.approx(-1.0)
    assert base_and_new.correlation(points[:2]) is None
    assert base_and_new.correlation([points[0]] * 3) is None


def test_the_lines_of_figure_4(rich):
    ((_, figure),) = base_and_new.draw_shift(read_tree(rich))
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
    assert list(curves.draw(read_tree(rich))) == []


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


def change(run, **more):
    """Replace keys of a record."""
    (run / "metrics.json").write_text(json.dumps(json.loads((run / "metrics.json").read_text()) | more))


@pytest.mark.parametrize(
    ("epochs", "said"),
    [
        ([{"epoch": 1, "losses": {"loss": 1.0}}, {"epoch": 2, "losses": {"loss": None}}], "has no loss of epoch 2"),
        ([{"epoch": 1, "losses": {"loss": float("nan")}}], "has no loss of epoch 1"),
        ([{"epoch": 1, "losses": {"loss": 1e300}}], "has no loss of epoch 1"),
        ([{"epoch": 10**400, "losses": {"loss": 1.0}}], "is damaged"),
        ([{"epoch": 1}, 3], "is damaged"),
    ],
)
def test_a_history_without_a_loss_costs_its_own_curve_only(rich, show, tmp_path, epochs, said):
    file = rich / "base/OxfordPets/CoOp/vit/seed1/history.json"
    file.write_text(json.dumps(epochs))
    code, out, err = show("figures", rich, "-o", tmp_path / "figures", "--figure", "curves")
    assert (code, len(out.splitlines())) == (0, 2)
    assert err == f"{file} {said}, its curve is left out\n"
    ((_, figure),) = curves.draw(read_tree(rich))
    assert [list(line.get_ydata()) for line in figure.axes[0].lines][0] == [4.0, 3.0, 2 / 3 + 2]  # seed 2 of CoOp alone


def test_no_history_with_anything_to_draw_is_no_figure(rich, show, tmp_path):
    for file in rich.rglob("history.json"):
        file.write_text('[{"epoch": 1, "losses": {}, "accuracy": null}]')
    code, out, err = show("figures", rich, "-o", tmp_path / "figures", "--figure", "curves", "1")
    assert code == 0 and "fig1.png" in out and "Training curves need" in err


def test_numbers_and_names_that_nothing_can_draw_cost_no_figure(rich, put, show, tmp_path):
    for subset in ("base", "new"):
        for trainer in ("$x_{$", r"\frac$\bad$", "a\udc80b"):
            put(trainer, subset, 1, 60.0, mean_true_probability=0.5)
        change(rich / subset / "OxfordPets/IVLP/vit/seed1", mean_true_probability=1e308, discrepancy=[1e308] * 9)
        file = rich / subset / "OxfordPets/IVLP/vit/seed1/features.npz"
        np.savez(file, image_features=np.full((9, 3), np.nan), labels=np.arange(9), text_features=np.ones((2, 3)))
    code, out, err = show("figures", rich, "-o", tmp_path / "figures")
    assert code == 0 and len(out.splitlines()) == 10 and "error" not in err


def test_a_small_file_does_not_unfold_into_a_huge_one(tmp_path):
    with zipfile.ZipFile(tmp_path / "features.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("image_features", "labels", "text_features"):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                np.lib.format.write_array_header_1_0(
                    part, {"descr": "<f2", "fortran_order": False, "shape": (10**12, 1)}
                )
                part.write(b"\0" * 1000)
    assert tsne.read(tmp_path / "features.npz") is None


def test_data_sets_whose_names_are_alike_keep_their_figures(put, output, show, tmp_path):
    for dataset in ("my-pets", "my/pets"):
        for backbone in ("RN50", "ViT-B/16"):
            run = put("CoOp", "base", 1, 60.0, "D" + str(len(list(output.rglob("*.json")))), backbone=backbone)
            change(run, dataset=dataset)
            (run / "history.json").write_text('[{"epoch": 1, "losses": {"loss": 1.0}}]')
    code, out, _ = show("figures", output, "-o", tmp_path / "figures")
    assert code == 0 and len(set(out.splitlines())) == 8 == len(list((tmp_path / "figures").iterdir()))
