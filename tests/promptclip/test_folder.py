"""The folder of a trained classifier: one of format version 1 loads for good, and what is wrong with one is said."""

import json
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import at_most, damage, damaged
from PIL import Image
from safetensors.torch import load_file, save_file
from small_classifier import make

import promptclip
from promptclip import folder
from promptclip.parts import KINDS, Part, kind, names_of_training

KEPT = Path(__file__).parents[1] / "golden" / "classifier_format_1"
FOLDERS = {path.name: path for path in KEPT.iterdir() if path.is_dir()}
FOLDERS["example"] = Path(__file__).parents[2] / "demo" / "classifier"
LARGE = 10**12


@pytest.fixture(scope="module")
def good(weights, tmp_path_factory):
    return make(weights("tiny4")).save(tmp_path_factory.mktemp("good") / "classifier")


@pytest.fixture
def copy(good, tmp_path):
    """A copy of a good folder, and change(entry, ..., value) that writes into its config.json."""
    for path in good.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())

    def change(*keys_and_value):
        *keys, value = keys_and_value
        config = json.loads((good / "config.json").read_text())
        inner = config
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        (tmp_path / "config.json").write_text(json.dumps(config))

    return tmp_path, change


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_a_folder_of_format_version_1_loads_for_good(name):
    """Never write these anew: whoever has such a folder has it as it is."""
    model = promptclip.load(FOLDERS[name])
    expected = json.loads((KEPT / "expected.json").read_text())[name]
    image = Image.open(KEPT / "picture.png")
    found = model.probabilities(image)[0].tolist()
    assert found == pytest.approx(expected["probabilities"], abs=1e-4) and model.info["format_version"] == 1
    if expected["new"] is None:
        with pytest.raises(ValueError, match="cannot take other class names"):
            model.with_classes(["lion", "violin"])
    else:
        assert model.with_classes(["lion", "violin"]).probabilities(image)[0].tolist() == pytest.approx(
            expected["new"], abs=1e-4
        )


DAMAGED = [
    (("format_version", 2), "is of format version 2, and promptclip .* reads 1"),
    (("format_version", "1"), "says no format_version"),
    (("format_version", True), "says no format_version"),
    (("novelty", 1), "the entry 'novelty', which format version 1 does not know"),
    (("classes", []), "names no classes"),
    (("classes", "cat"), "'classes' is 'cat', not a list"),
    (("classes", [1, 2]), "must be texts"),
    (("method", None), "'method' is None"),
    (("preprocessing", "size", 0), "a preprocessing that cannot be"),
    (("preprocessing", "std", [0, 1, 1]), "a preprocessing that cannot be"),
    (("preprocessing", "mean", [0, 1]), "a preprocessing that cannot be"),
    (("preprocessing", "mean", ["a", 1, 1]), "a preprocessing that cannot be"),
    (("preprocessing", "interpolation", "lanczos"), "none of bicubic"),
    (("parts", {}), "its parts are"),
    (("parts", "prompts", []), "is damaged"),
    (("parts", "prompts", "kind", "magic"), "no kind of part 'magic'"),
    (("parts", "prompts", "settings", {"n": 1}), "cannot have these settings"),
    (("parts", "prompts", "settings", "text", [[LARGE, 64]]), "a part's setting is 1000000000000"),
    (("parts", "prompts", "settings", "text", [[-3, 64]]), "cannot have these settings"),
    (("parts", "prompts", "settings", "text", [[3, 64], None, [2, 64]]), r"text_tokens.0 is .* \(2, 64\) and not"),
    (("parts", "prompts", "settings", "text", [[2, 64]]), "it holds 'prompts.text_tokens.2'"),
    (("parts", "prompts", "settings", "vision", [[1000000, 1000000]] * 9), "it lacks prompts.vision_tokens.1"),
    (("parts", "prompts", "settings", "text", [[1, 1]] * 30_000), "more than 20,000 modules and parameters"),
    (("parts", "corrections", "settings", "width", 900_000), "and not torch.float32"),
    (("parts", "head", "kind", "surgery"), "cannot have these settings"),
    (("backbone", "sha256", "0" * 64), "holds other weights"),
    (("backbone", "name", "ViT-B/17"), "stands on the backbone ViT-B/17: There is no backbone"),
    (("backbone", "name", "EmojiCLIP"), "holds other weights: give the right one as `backbone`"),
]


@pytest.mark.parametrize(("entry", "sentence"), DAMAGED, ids=[sentence[:30] for _, sentence in DAMAGED])
def test_a_config_that_cannot_be_is_refused(copy, entry, sentence):
    place, change = copy
    change(*entry)
    with pytest.raises(ValueError, match=sentence):
        promptclip.load(place)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00", "[]", '"text"', "{}", "1e999"])
def test_a_config_that_is_none_is_refused(copy, text):
    place, _ = copy
    (place / "config.json").write_text(text)
    with pytest.raises(ValueError, match="damaged|no format_version"):
        promptclip.load(place)


def weights_files(good):
    """Contents of model.safetensors that are not this classifier's, and what is said of each."""
    whole = (good / "model.safetensors").read_bytes()
    tensors = load_file(good / "model.safetensors")
    some = "prompts.text_tokens.0"
    header = json.dumps({"x": {"dtype": "F32", "shape": [LARGE], "data_offsets": [0, 4 * LARGE]}}).encode()
    return {
        "truncated": (whole[: len(whole) // 2], "is damaged"),
        "a beginning": (whole[:5], "is damaged"),
        "empty": (b"", "is damaged"),
        "a large header": (struct.pack("<Q", LARGE) + whole[8:], "is damaged"),
        "a large tensor": (struct.pack("<Q", len(header)) + header, "is damaged"),
        "one less": ({name: value for name, value in tensors.items() if name != some}, f"it lacks {some}"),
        "one more": (tensors | {"more": torch.zeros(1)}, "it holds 'more'"),
        "another type": (tensors | {some: tensors[some].double()}, "is torch.float64"),
        "another shape": (tensors | {some: tensors[some][:1].clone()}, "and not torch.float32"),
        "not finite": (tensors | {some: tensors[some] * float("nan")}, "infinite or NaN values"),
    }


@pytest.mark.parametrize("case", range(10))
def test_tensors_that_do_not_fit_are_refused(copy, good, case):
    place, _ = copy
    content, sentence = list(weights_files(good).values())[case]
    if isinstance(content, bytes):
        (place / "model.safetensors").write_bytes(content)
    else:
        save_file(content, place / "model.safetensors")
    with pytest.raises(ValueError, match=sentence):
        promptclip.load(place)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(copy, name):
    place, _ = copy
    (place / name).unlink()
    with pytest.raises(FileNotFoundError, match="holds no trained classifier|has no model.safetensors"):
        promptclip.load(place)


@given(st.sampled_from(["config.json", "model.safetensors"]), damage)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_folder_is_read_or_refused(copy, good, name, harm):
    place, _ = copy
    for path in good.iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    (place / name).write_bytes(damaged((good / name).read_bytes(), harm))
    with at_most(10):
        try:
            folder.read(place)
        except (ValueError, FileNotFoundError) as error:
            assert str(place) in str(error) or "kind of part" in str(error)


def test_sizes_that_a_config_names_take_no_memory(copy):
    """In a process whose memory is bounded, so that taking it would end it."""
    place, change = copy
    change("parts", "prompts", "settings", "vision", [[1_000_000, 1_000_000]] * 1000)
    code = (
        "import sys, torch; from promptclip import folder; import pathlib, resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30,) * 2)\n"
        "try: folder.read(pathlib.Path(sys.argv[1]))\nexcept ValueError as error: print('refused', error)"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60)
    assert done.stdout.startswith("refused"), done.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 * 2**20  # KiB


def test_nothing_of_training_is_in_a_folder(good):
    names = load_file(good / "model.safetensors").keys()
    assert "corrections.text_alpha.value" in names
    assert not any(name.endswith(("gain", "steps")) for name in names)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_says_what_its_settings_are(name):
    """So that a part can be made again of what it says of itself; parts of tests and of users are their own affair."""
    if kind(name).settings is Part.settings:
        with torch.device("meta"):
            made = kind(name)()
        assert not made.state_dict().keys() - names_of_training(made), "it has tensors, so settings of their shapes"


def test_a_part_without_a_kind_is_named():
    class Homemade(Part):
        pass

    with pytest.raises(ValueError, match="Homemade is a part without a kind"):
        Homemade().trained()


def test_contexts_for_other_numbers_of_classes_are_refused(weights, tmp_path):
    place = make(weights("tiny4"), "specific").save(tmp_path / "specific")
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | {"classes": ["cat", "dog"]}))
    with pytest.raises(ValueError, match="contexts for 3 classes, and 2 class names"):
        promptclip.load(place)
