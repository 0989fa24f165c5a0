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


def test_every_form_says_what_torch_says(left, tmp_path):
    entry, model = left
    if entry[1] in PER_IMAGE:
        for form in FORMATS:
            with pytest.raises(ValueError, match="its text features depend on the image"):
                export(model, form, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return
    images = sample(model, 5)  # neither of the sizes that the export itself is checked with
    expected = model.logits(model.description.preprocessing.normalise(images)).softmax(1)
    for form in FORMATS:
        if form == "matrix" and not model.cosine:
            with pytest.raises(ValueError, match="more than a matrix .* export it as onnx"):
                export(model, form, tmp_path / form)
            assert not (tmp_path / form).exists()
            continue
        file = export(model, form, tmp_path / form)[0]
        said = json.loads((tmp_path / form / "classes.json").read_text())
        assert said["classes"] == list(model.classes) and said["method"] == entry[1]
        if form == "onnx":
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
            found, features = session.run(None, {"images": images.numpy()})
            assert features.shape[0] == 5 and np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-4)
            assert session.get_modelmeta().custom_metadata_map["method"] == entry[1]
        elif form == "torchscript":
            found = torch.jit.load(file)(images)[0].numpy()
        else:
            features = torch.from_numpy(export_features(model, images))
            found = (said["logit_scale"] * features @ torch.from_numpy(np.load(file)).t()).softmax(1).numpy()
        assert np.abs(found - expected.numpy()).max() <= 1e-4, form


def export_features(model, images):
    """Normalised image features of the method, as the ONNX form gives them."""
    from promptclip.export import ImageSide

    with torch.no_grad():
        return ImageSide(model).eval()(images)[1].numpy()


def test_what_cannot_be_written(weights, tmp_path):
    trainer = build(("LPpp", "LPpp", {}), weights, tmp_path, epochs=1)
    trainer.train()
    model = promptclip.load(write_classifier(trainer, trainer.cfg, tmp_path, {"dataset": "tensors"}))
    with pytest.raises(ValueError, match="'tflite' is none of onnx, torchscript, matrix"):
        export(model, "tflite", tmp_path / "out")


def test_what_torch_cannot_export_is_one_sentence(weights, tmp_path, monkeypatch):
    trainer = build(("MaPLe", "MaPLe", {}), weights, tmp_path, epochs=1)
    trainer.train()
    model = promptclip.load(write_classifier(trainer, trainer.cfg, tmp_path, {"dataset": "tensors"}))

    def fails(*args, **kwargs):
        raise RuntimeError("unordered_map::at\nmore")

    monkeypatch.setattr(torch.jit, "trace", fails)
    with pytest.raises(ValueError, match="could not make TorchScript of MaPLe .unordered_map::at more."):
        export(model, "torchscript", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(ValueError):
        export(model, "torchscript", tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").exists()
