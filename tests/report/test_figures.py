"""Figures: drawn where there are data, named where not; what the numbers in them are."""

import json
import zipfile

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason='figures need Matplotlib: pip install ".[report]"')
pytest.importorskip("sklearn", reason='Fig. 5 needs scikit-learn: pip install ".[report]"')

from report.figures import base_and_new, confusion, curves, discrepancy, draw, reliability, tsne
from report.model import Scores
from report.tables import read_tree


def test_every_figure_of_a_rich_tree(rich, show, tmp_path):
    code, out, err = show("figures", rich, "-o", tmp_path / "figures")
    assert code == 0 and err.splitlines() == [one for one in err.splitlines() if one.startswith("Base against new")]
    stems = ["fig1", "fig3", "fig4", "fig5_OxfordPets", "curves_OxfordPets_base", "reliability", "confusion_OxfordPets"]
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
    without = ["Fig. 3", "Fig. 4", "Fig. 5", "Training curves", "Reliability", "Base against new", "Confusion pairs"]
    assert [line.split(" need")[0] for line in err.splitlines()] == without
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
    found = discrepancy.points([methods["CoOp"], methods["IVLP"]], methods["ZeroshotCLIP"], ["OxfordPets"])
    got = [(label, subset, round(x.mean, 6), round(y.mean, 6)) for label, subset, x, y in found]
    assert got == [
        ("CoOp", "base", 1.5, 10.5),
        ("CoOp", "new", 1.5, -9.5),
        ("IVLP", "base", 0.75, 5.5),
        ("IVLP", "new", 0.75, -4.5),
    ]
    ((_, figure),) = discrepancy.draw(tree)
    base, new = figure.axes
    assert "base classes" in base.get_title() and "too few points" in base.get_title()
    heights = [[line.get_ydata()[0] for line in axis.lines if line.get_marker() != "None"] for axis in (base, new)]
    assert heights == [[10.5, 5.5], [-9.5, -4.5]]  # base and new apart


def test_a_correlation_is_that_of_one_class_subset():
    """Pooled, base and new would show a trend that neither has."""
    numbers = [(1.0, 5.0), (2.0, 5.5), (3.0, 5.2)]
    points = [
        ("m", part, Scores({1: x}), Scores({1: y + d})) for part, d in (("base", 0), ("new", -9)) for x, y in numbers
    ]
    assert discrepancy.correlation(points, "base").rho == discrepancy.correlation(points, "new").rho == 0.5
    assert discrepancy.correlation(points[:2], "base") is None


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
    images, texts = figure.axes[0].collections[:2], figure.axes[0].collections[2:]
    assert [len(one.get_offsets()) for one in (*images, *texts)] == [6, 6, 1, 1]  # a mark and a colour a class
    assert texts[0].get_sizes()[0] > 5 * images[0].get_sizes()[0]
    assert {text.get_text() for text in figure.axes[0].texts} == {"Persian", "Pug <b>"}


def test_figure_5_has_as_many_classes_as_can_be_told_apart(rich):
    for file in rich.rglob("features.npz"):
        random = np.random.default_rng(0)
        features = random.normal(size=(130, 5)).astype(np.float16), random.normal(size=(20, 5)).astype(np.float16)
        labels = np.arange(130) % 20
        np.savez(file, image_features=features[0], labels=labels, text_features=features[1], classnames=np.arange(20))
    ((_, figure),) = tsne.draw(read_tree(rich))
    marks = figure.axes[0].collections[7:]
    assert len(marks) == 7 and len({tuple(one.get_facecolor()[0]) for one in marks}) == 7


def test_both_towers_have_one_scale(rich):
    ((_, figure),) = base_and_new.draw_shift(read_tree(rich))
    towers = [axis for axis in figure.axes if "tower" in axis.get_title()]
    assert len(towers) == 4 and len({axis.get_ylim() for axis in towers}) == 1


def test_curves_show_the_cross_entropy_alone():
    """A loss that is a sum of other terms is not set beside another method's."""
    assert curves.cross_entropy({"losses": {"loss": 2.0}}) == 2.0
    assert curves.cross_entropy({"losses": {"loss": 5.0, "ce": 1.0, "fs": 4.0}}) == 1.0
    assert curves.cross_entropy({"losses": {"loss": 5.0, "xe_loss": 1.5, "kl_loss": 3.5}}) == 1.5
    assert curves.cross_entropy({"losses": {"loss": 5.0, "kg": 4.0}}) is None


def test_the_reliability_of_several_runs_is_pooled(rich):
    runs = [record for record in read_tree(rich).records if record.trainer == "CoOp" and record.subset == "base"]
    assert reliability.pooled(runs) == [(6, pytest.approx(0.3), 0.5), (2, pytest.approx(0.9), 1.0)]
    ((_, figure),) = reliability.draw(read_tree(rich))
    assert [axis.get_title().splitlines()[0] for axis in figure.axes] == ["zero-shot CLIP", "CoOp", "IVLP"]


@pytest.mark.parametrize("raw", [3, {"count": [1]}, {"count": [1], "confidence": ["x"], "accuracy": [1]}])
def test_a_broken_reliability_is_none(raw, rich):
    record = read_tree(rich).records[0]
    record.raw["reliability"] = raw
    assert reliability.reliability(record) is None


def test_the_pairs_that_are_confused(rich):
    (coop,) = (method for method in read_tree(rich).methods if method.trainer == "CoOp")
    assert confusion.confusions(coop, "OxfordPets", "base") == {("Persian", "Pug <b>"): 50.0}
    ((stem, figure),) = confusion.draw(read_tree(rich))
    assert stem == "confusion_OxfordPets" and len(figure.axes) == 2


def test_a_curve_of_base_against_new(rich, put):
    joint = {"curve": [[60.0, 0.0], [30.0, 40.0], [0.0, 50.0]], "base_accuracy": 30.0, "new_accuracy": 40.0}
    put("CoOp", "all", 1, 40.0, protocol="base2new", mode="eval", joint=joint | {"ausuc": 20.0})
    ((stem, figure),) = reliability.draw_joint(read_tree(rich))
    line, named, mark = figure.axes[0].lines
    assert list(line.get_xdata()) == [60.0, 30.0, 0.0] and list(mark.get_ydata()) == [40.0]
    assert "AUSUC 20.0" in named.get_label() and stem == "joint_OxfordPets"


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
    assert not figures and len(lacking) == len(draw.FIGURES)


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
    assert code == 0 and len(out.splitlines()) == 14 and "error" not in err


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
