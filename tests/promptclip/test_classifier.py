"""A trained classifier in use: images of any kind, class names, devices, what comes out."""

import numpy as np
import pytest
import torch
from PIL import Image
from small_classifier import CLASSES, make

import promptclip

NOISE = np.random.RandomState(0)


@pytest.fixture(scope="module")
def model(weights):
    return make(weights("tiny4"))


@pytest.fixture(scope="module")
def pixels():
    """Seven images (32, 32, 3), as bytes, of the classifier's size so that nothing is resized."""
    return NOISE.randint(0, 256, (7, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def photos(pixels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{number}.png")
    return folder


def test_every_kind_of_image_gives_the_same(model, pixels, photos):
    paths = sorted(photos.iterdir())
    expected = model.probabilities(paths)
    assert expected.shape == (7, 3) and torch.allclose(expected.sum(1), torch.ones(7))
    channels_first = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    for images in (
        photos,
        str(photos),
        [str(path) for path in paths],
        [Image.fromarray(one) for one in pixels],
        list(pixels),
        pixels,
        pixels / np.float32(255),
        channels_first,
        list(channels_first.float() / 255),
        (path for path in paths),
    ):
        assert torch.equal(model.probabilities(images), expected)
    assert torch.equal(model.logits(torch.stack([model.preprocess(path) for path in paths])).softmax(1), expected)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 100])
def test_batches_of_any_size(model, photos, batch):
    torch.testing.assert_close(model.probabilities(photos, batch), model.probabilities(photos), rtol=0, atol=1e-6)
    assert model.probabilities([], batch).shape == (0, 3) and model.predict([]) == []


def test_predictions_are_names_and_probabilities_the_likeliest_first(model, photos):
    found, probabilities = model.predict(photos, top=2), model.probabilities(photos)
    for row, values in zip(found, probabilities.tolist(), strict=True):
        assert row == sorted(zip(CLASSES, values, strict=True), key=lambda pair: -pair[1])[:2]
    assert len(model.predict(photos, top=50)[0]) == 3
    assert len(model.predict(photos / "0.png")) == 1


def test_features_are_what_the_logits_are_made_of(model, photos):
    image, text = model.image_features(photos), model.text_features()
    scale = model.clip.model.logit_scale.exp()
    torch.testing.assert_close((scale * image @ text.T).softmax(1), model.probabilities(photos), rtol=0, atol=1e-6)


def test_other_class_names(model, weights, photos):
    names = ["lynx", "tabby_cat"]
    other = model.with_classes(names)
    assert other.classes == names and model.classes == list(CLASSES) and other.clip is model.clip
    whole, part = model.text_features(), other.text_features()
    torch.testing.assert_close(part[1], whole[0], rtol=0, atol=1e-5)
    many = [f"thing {number}" for number in range(2500)]
    apart = torch.cat([model.with_classes(many[start : start + 500]).text_features() for start in range(0, 2500, 500)])
    torch.testing.assert_close(model.with_classes(many).text_features(), apart, rtol=0, atol=1e-5)
    assert len(model.with_classes(many).predict(photos, top=1)) == 7


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "at least one class name"),
        ("cat", "list of texts"),
        (["cat", " "], "none may be empty"),
        (["cat", 3], "none may be empty"),
        (["cat", "dog", "cat"], "'cat' stands there 2 times"),
        ([f"{n}" for n in range(100_001)], "more than 100,000"),
        (["word " * 90], "shorten the name"),
    ],
)
def test_class_names_that_cannot_be(model, names, sentence):
    with pytest.raises(ValueError, match=sentence):
        model.with_classes(names)


def test_class_specific_contexts_take_no_other_names(weights):
    model = make(weights("tiny4"), "specific")
    assert model.with_classes(list(CLASSES)).classes == list(CLASSES)
    for names in (["cat"], list(CLASSES[::-1])):
        with pytest.raises(ValueError, match="cannot take other class names: its contexts belong to the classes"):
            model.with_classes(names)


def test_templates_where_no_context_stands_in_their_place(model, weights):
    with pytest.raises(ValueError, match="takes no template: its learned context stands in the place"):
        model.with_classes(["cat"], "a sketch of a {}.")
    prompted = make(weights("tiny4"), "vision")
    with pytest.raises(ValueError, match="has no {}"):
        prompted.with_classes(["cat"], "a sketch")
    sketch = prompted.with_classes(["cat"], "a sketch of a {}.")
    assert not torch.allclose(sketch.text_features(), prompted.with_classes(["cat"]).text_features(), atol=1e-3)
    assert sketch.info["templates"] == ["a sketch of a {}."]


def test_contexts_that_depend_on_the_image(weights, photos):
    model = make(weights("tiny4"), "conditioned")
    together, alone = model.probabilities(photos), [model.probabilities(path) for path in sorted(photos.iterdir())]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="depend on the image"):
        model.text_features()
    assert model.with_classes(["cat", "dog"]).probabilities(photos).shape == (7, 2)


def test_saved_and_loaded_it_is_the_same(model, photos, tmp_path, weights):
    model.save(tmp_path / "saved")
    loaded = promptclip.load(tmp_path / "saved")
    assert torch.equal(loaded.probabilities(photos), model.probabilities(photos)) and loaded.info == model.info
    named = promptclip.load(tmp_path / "saved", classes=["cat", "dog"])
    named.save(tmp_path / "named")
    assert promptclip.load(tmp_path / "named").classes == ["cat", "dog"]


def test_half_precision_is_near(weights, photos):
    single, half = make(weights("tiny4")), make(weights("tiny4")).half()
    found = half.probabilities(photos)
    assert found.dtype == torch.float32 and half.clip.model.dtype == torch.float16
    torch.testing.assert_close(found, single.probabilities(photos), rtol=0, atol=0.02)
    assert half.to("cpu") is half


@pytest.mark.gpu
def test_on_a_gpu_as_on_the_cpu(weights, photos):
    expected = make(weights("tiny4")).probabilities(photos)
    model = make(weights("tiny4"))
    assert model.probabilities(photos) is not None  # class names prepared on the CPU are prepared again
    assert model.to("cuda").device.type == "cuda"
    torch.testing.assert_close(model.probabilities(photos), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(model.half().probabilities(photos), expected, rtol=0, atol=0.02)


def test_prompts_cannot_be_merged_into_weights(model):
    with pytest.raises(ValueError, match="cannot be merged into CLIP's weights: .* corrections, prompts"):
        model.merged()


def test_a_broken_image_is_named(model, photos, tmp_path):
    (tmp_path / "broken.png").write_bytes((photos / "0.png").read_bytes()[:200])
    with pytest.raises(ValueError, match="broken.png"):
        model.predict([photos / "0.png", tmp_path / "broken.png"])
    rows = [one for some in model.batches([photos / "0.png", tmp_path / "broken.png"], 2) for one in some]
    torch.testing.assert_close(rows[0], model.probabilities(photos / "0.png")[0], rtol=0, atol=1e-6)
    assert isinstance(rows[1], ValueError)


def test_a_place_without_a_classifier(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no trained classifier: name a run's"):
        promptclip.load(tmp_path)
    (tmp_path / "prompt_learner").mkdir()
    (tmp_path / "prompt_learner/model.pth.tar-3").touch()
    with pytest.raises(FileNotFoundError, match="run `promptclip pack"):
        promptclip.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        promptclip.load(tmp_path / "nothing" / "there")
    with pytest.raises(TypeError, match="only for published checkpoints"):
        promptclip.load(tmp_path, epoch=3)
