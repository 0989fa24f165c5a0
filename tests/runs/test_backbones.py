"""A run on open_clip's CLIP from the command line: its preprocessing is taken, and record and classifier name it."""

import json

import pytest
import torch
from open_clip_models import as_folder, random_model, shrunk

import promptclip
import train
from promptclip.backbone import find_source

open_clip = pytest.importorskip("open_clip")
SAID = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "resize_mode": "squash"}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    config = shrunk(open_clip.get_model_config("ViT-B-16"))
    return "open_clip:" + as_folder(random_model(config), config, tmp_path_factory.mktemp("backbone") / "model", **SAID)


@pytest.fixture
def perform(command, backbone, tmp_path, capfd):
    def run(*more, code=0, name="run", using=backbone):
        options = ["--backbone", using, "OPTIM.MAX_EPOCH", "1", *more]
        assert train.main([*command, "--output-dir", str(tmp_path / name), *options]) == code
        captured = capfd.readouterr()
        return captured.out + captured.err

    return run


def test_its_own_preprocessing_name_and_digest(perform, backbone, tmp_path):
    printed = perform()
    record = json.loads((tmp_path / "run/metrics.json").read_text())
    said = record["config"]["INPUT"]
    assert (said["SIZE"], said["RESIZE"], said["INTERPOLATION"]) == ([48, 48], "squash", "bilinear")
    assert said["PIXEL_MEAN"] == [0.5] * 3 and "Note: the backbone was trained on" not in printed
    assert record["backbone"] == backbone and f"Backbone: {record['backbone_source']}" in printed
    model = promptclip.load(tmp_path / "run")
    info = model.info
    assert info["backbone"] == {"name": backbone, "sha256": record["backbone_sha256"], "activation": "gelu"}
    assert info["preprocessing"]["resize"] == "squash" and type(model.clip.model.transformer.resblocks[0].mlp.gelu) is (
        torch.nn.GELU
    )
    assert "Finished before, not repeated" in perform()


def test_preprocessing_on_the_command_line_is_kept_and_noted(perform, tmp_path):
    printed = perform("INPUT.PIXEL_MEAN", "[0.1, 0.1, 0.1]")
    assert "Note: the backbone was trained on images of 48 pixels (squash, bilinear, mean (0.5, 0.5, 0.5)" in printed
    assert promptclip.load(tmp_path / "run").description.preprocessing.mean == (0.1, 0.1, 0.1)
    assert "INPUT.SIZE is (32, 32), but the backbone" in perform("INPUT.SIZE", "(32, 32)", code=2, name="other")


def test_predictions_are_the_runs(perform, command, tmp_path):
    """Test images are squashed in the run as in the classifier."""
    perform()
    rows = (tmp_path / "run/predictions.csv").read_text().splitlines()[1:]
    root = command[command.index("--root") + 1]
    model = promptclip.load(tmp_path / "run")
    for row in rows:
        path, label, _, probability, *_ = row.split(",")
        found = model.probabilities(f"{root}/{path}")[0, int(label)]
        assert found.item() == pytest.approx(float(probability), rel=1e-4)


def test_a_bare_file_is_refused_before_data_is_read(perform, backbone, tmp_path):
    path = tmp_path / "bare.pt"
    torch.save(find_source(backbone).read().state_dict(), path)
    bare = ["INPUT.SIZE", "(48, 48)"]
    printed = perform(*bare, code=2, using=str(path))
    assert "does not say which activation" in printed and not (tmp_path / "run/metrics.json").exists()
    perform(*bare, "MODEL.BACKBONE.ACTIVATION", "gelu", using=str(path))
    assert promptclip.load(tmp_path / "run").info["backbone"]["activation"] == "gelu"
    printed = perform(*bare, "MODEL.BACKBONE.ACTIVATION", "relu", code=2, name="other", using=str(path))
    assert "MODEL.BACKBONE.ACTIVATION" in printed and "quickgelu" in printed


@pytest.mark.parametrize("name", ["open_clip:ViT-B-16-SigLIP/webli", "open_clip:ViT-B16/openai", "hf:/nowhere/at/all"])
def test_names_that_cannot_be_are_one_sentence(perform, name):
    printed = perform(code=2, using=name)
    assert printed.count("error: ") == 1 and "Traceback" not in printed and name.partition(":")[0] in printed


def test_list_of_backbones(capfd):
    assert train.main(["--list-backbones"]) == 0
    printed = capfd.readouterr().out
    for line in ("ViT-B/16 ", "EmojiCLIP ", "open_clip:ViT-H-14/laion2b_s32b_b79k ", "hf:USER/NAME"):
        assert line in printed
    assert "SigLIP" not in printed
