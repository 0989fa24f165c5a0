"""What belongs to the classes trained on keeps to them in a folder: residuals, caches, changed weights."""

from dataclasses import replace

import pytest
import torch
from small_classifier import CLASSES, make
from torch import nn

import promptclip
from promptclip.changes import Changes
from promptclip.class_texts import TemplateTexts
from promptclip.classifier import Classifier
from promptclip.learner import Corrections, CosineHead, Head, cosine_logits
from promptclip.prompts import PromptModule

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
REASON = "its residuals belong to the classes it was trained on"


class Residual(Corrections, kind="residual_of_a_test"):
    """A residual for each class trained on, none for a new one."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.residual = nn.Parameter(torch.randn(classes, width, generator=torch.Generator().manual_seed(1)))

    def settings(self):
        return dict(zip(("classes", "width"), self.residual.shape, strict=True))

    def text(self, features, rows):
        return features + torch.where((rows >= 0)[:, None], self.residual[rows.clamp_min(0)], 0)


class Cache(Head, kind="cache_of_a_test"):
    """Cosine logits and a bias for each class trained on; its shots are kept as whole numbers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.arange(classes, dtype=torch.float32))
        self.register_buffer("shots", torch.arange(classes))

    def settings(self):
        return {"classes": len(self.bias)}

    def forward(self, features, classes, logit_scale):
        own = torch.where(classes.rows >= 0, self.bias[classes.rows.clamp_min(0)], 0)
        return cosine_logits(features.image, features.text, logit_scale) + own

    def inference(self, classes):
        return "with its cache"


class Merged(Changes, kind="changes_of_a_test"):
    """Changes the logit scale, which only its merged weights have."""

    def merged_state(self, model):
        return model.state_dict() | {"logit_scale": model.logit_scale + 1}


def bound(weights, new_classes=REASON, **parts):
    """A classifier whose parts belong to CLASSES."""
    plain = make(weights("tiny4"))
    texts = TemplateTexts(["a photo of a {}.", "a sketch of a {}."])
    made = {"prompts": PromptModule(), "head": CosineHead(), "class_texts": texts} | parts
    said = replace(plain.description, trained_on=CLASSES, new_classes=new_classes, inference="with its cache")
    return Classifier(said, made, plain.clip)


@pytest.fixture
def model(weights):
    return bound(weights, corrections=Residual(3, 64), head=Cache(3))


def test_a_folder_keeps_the_rows(model, tmp_path):
    loaded = promptclip.load(model.save(tmp_path / "saved"))
    assert torch.equal(loaded.logits(IMAGES), model.logits(IMAGES))
    assert loaded.info["inference"] == "with its cache" and loaded.info["trained_on"] == CLASSES
    assert loaded.info["templates"] == ["a photo of a {}.", "a sketch of a {}."] and not loaded.cosine
    assert loaded.parts["head"].shots.dtype == torch.int64


def test_a_part_of_the_classes_keeps_their_rows(model, tmp_path):
    backwards = [CLASSES[2], CLASSES[0]]
    some = model.with_classes(backwards)
    torch.testing.assert_close(some.logits(IMAGES), model.logits(IMAGES)[:, [2, 0]], rtol=0, atol=1e-5)
    again = promptclip.load(some.save(tmp_path / "some"))
    assert again.classes == backwards and torch.equal(again.logits(IMAGES), some.logits(IMAGES))
    with pytest.raises(ValueError, match=f"RESTORE_m cannot take other class names: {REASON}"):
        again.with_classes(["lynx"])
    assert again.with_classes(CLASSES).classes == list(CLASSES)


def test_new_classes_have_no_row(weights):
    model = bound(weights, new_classes="", corrections=Residual(3, 64), head=Cache(3))
    plain = bound(weights, new_classes="")
    mixed, without = (one.with_classes(["lynx", CLASSES[1]]).logits(IMAGES) for one in (model, plain))
    assert torch.allclose(mixed[:, 0], without[:, 0]) and not torch.allclose(mixed[:, 1], without[:, 1])
    many = model.with_classes([*CLASSES, *(f"thing {number}" for number in range(1500))])
    torch.testing.assert_close(many.logits(IMAGES)[:, :3], model.logits(IMAGES), rtol=0, atol=1e-4)


def test_a_template_in_place_of_its_own(weights):
    model = bound(weights, new_classes="")
    sketch = model.with_classes(CLASSES, "a sketch of a {}.")
    assert sketch.info["templates"] == ["a sketch of a {}."]
    assert not torch.allclose(sketch.text_features(), model.text_features(), atol=1e-3)


def test_changed_weights_are_merged(weights):
    model = bound(weights, new_classes="", changes=Merged())
    state = model.merged()
    assert state["logit_scale"] == model.clip.model.logit_scale + 1
    with pytest.raises(ValueError, match="cannot be merged into CLIP's weights"):
        bound(weights, changes=Merged(), corrections=Residual(3, 64)).merged()
