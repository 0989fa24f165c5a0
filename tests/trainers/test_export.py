"""What every method leaves, exported: the image side says in other programs what the classifier says."""

import json

import numpy as np
import pytest
import torch
from behaviour import ENTRIES, build

import promptclip
from promptclip.export import FORMATS, export, sample
from runs.classifier import write_classifier

onnxruntime = pytest.importorskip("onnxruntime")
PER_IMAGE = ("CoCoOp",)


@pytest.fixture(params=ENTRIES, ids=lambda entry: entry[0])
def left(request, weights, tmp_path):
    """(entry, the classifier of a trained method)."""
    trainer = build(request.param, weights, tmp_path, epochs=1)
    if trainer.method.learns:
        trainer.train()
    record = {"dataset": "tensors", "shots": 1, "seed": 0, "epoch": 1}
    return request.param, promptclip.load(write_classifier(trainer, trainer.cfg, tmp_path, record))


def test_onnx_says_what_torch_says(left, tmp_path):
    entry, model = left
    if entry[1] in PER_IMAGE:
        with pytest.raises(ValueError, match="its text features depend on the image"):
            export(model, "onnx", tmp_path / "out")
        return
    export(model, "onnx", tmp_path / "out")
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    images = sample(model, 5)  # neither of the sizes that the export itself is checked with
    probabilities, features = session.run(None, {"images": images.numpy()})
    normalised = model.description.preprocessing.normalise(images)
    expected = model.logits(normalised).softmax(1)
    assert np.abs(probabilities - expected.numpy()).max() <= 1e-4
    assert features.shape[0] == 5 and np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-4)
    said = json.loads((tmp_path / "out" / "classes.json").read_text())
    assert said["classes"] == list(model.classes) and said["method"] == entry[1]
    assert session.get_modelmeta().custom_metadata_map["method"] == entry[1]


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "onnx"])
def test_other_forms(form, weights, tmp_path):
    trainer = build(("MaPLe", "MaPLe", {}), weights, tmp_path, epochs=1)
    trainer.train()
    model = promptclip.load(write_classifier(trainer, trainer.cfg, tmp_path, {"dataset": "tensors"}))
    file = export(model, form, tmp_path / form)[0]
    images = sample(model, 4)
    expected = model.logits(model.description.preprocessing.normalise(images)).softmax(1)
    if form == "torchscript":
        found = torch.jit.load(file)(images)[0]
    else:
        said = json.loads((tmp_path / form / "classes.json").read_text())
        features = torch.from_numpy(export_features(model, images))
        found = (said["logit_scale"] * features @ torch.from_numpy(np.load(file)).t()).softmax(1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def export_features(model, images):
    """Normalised image features of the method, as the ONNX form gives them."""
    from promptclip.export import ImageSide

    with torch.no_grad():
        return ImageSide(model).eval()(images)[1].numpy()


def test_what_cannot_be_written(weights, tmp_path):
    trainer = build(("LPpp", "LPpp", {}), weights, tmp_path, epochs=1)
    trainer.train()
    model = promptclip.load(write_classifier(trainer, trainer.cfg, tmp_path, {"dataset": "tensors"}))
    with pytest.raises(ValueError, match="more than a matrix .* export it as onnx"):
        export(model, "matrix", tmp_path / "out")
    with pytest.raises(ValueError, match="'tflite' is none of onnx, torchscript, matrix"):
        export(model, "tflite", tmp_path / "out")
