"""What makes EmojiCLIP: its towers compute what OpenAI's do, its loop resumes to the bit, its data are right."""

import json
import sys
from pathlib import Path

import clip
import numpy as np
import pytest
import torch
from clip.model import CLIP
from torch import nn
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "demo" / "emojiclip"


@pytest.fixture(scope="module", autouse=True)
def scripts():
    """The scripts find one another beside themselves, as when they are run."""
    added = [str(HERE), str(HERE.parent)]
    sys.path[:0] = added
    names = "artwork augment captions learn towers train_text train_vision words"
    yield
    for path in added:
        sys.path.remove(path)
    for name in [*names.split(), "evaluate", "npm_packages", "pictures"]:
        sys.modules.pop(name, None)


def small_vision():
    from towers import build_vision

    torch.manual_seed(0)
    return build_vision(64, 2, 8, 32, 16, torch.randn(300, 192))


def test_the_vision_tower_in_training_is_openais():
    from towers import encode_images

    visual, images = small_vision(), torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(encode_images(visual, images), visual(images))


def test_dropped_patches_are_another_picture_and_drawn_from_the_generator():
    from towers import encode_images

    visual, images = small_vision(), torch.randn(3, 3, 32, 32)
    some = [encode_images(visual, images, 5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(some[0], some[1]) and not torch.allclose(some[0], some[2], atol=1e-4)


def test_the_text_tower_in_training_is_openais():
    from towers import TextTower, new_clip

    torch.manual_seed(0)
    model = new_clip(torch.randn(49408, 100), 64)
    phrases = ["a photo of a mammal.", "a", "an image of the heart symbol"]
    tokens = clip.tokenize(phrases)
    ours = TextTower(model, tokens.unique())(tokens)
    assert isinstance(model, CLIP)
    torch.testing.assert_close(ours, F.normalize(model.encode_text(tokens), dim=-1))


def test_the_finished_file_rebuilds_with_openais_code(tmp_path):
    from towers import TextTower, new_clip
    from train_text import save

    from promptclip import load_clip

    torch.manual_seed(0)
    model = new_clip(torch.randn(49408, 100), 64)
    tokens = clip.tokenize(["a photo of a mammal."])
    text = TextTower(model, tokens.unique())
    with torch.no_grad():
        text.table += 0.1  # learnt: the file must hold this, not the start
    save(model, text, 30.0, tmp_path / "small.pt")
    loaded = load_clip(str(tmp_path / "small.pt"), "quickgelu")
    torch.testing.assert_close(F.normalize(loaded.encode_text(tokens), dim=-1), text(tokens), atol=0.01, rtol=0.01)
    assert loaded.logit_scale.exp().item() == pytest.approx(30, rel=0.01)


@pytest.mark.parametrize("stops", [[3], [2, 5]])
def test_an_interrupted_training_resumes_to_the_same_bits(tmp_path, stops):
    from learn import Schedule, fit, optimisers

    def train(folder, until):
        torch.manual_seed(0)
        modules = nn.ModuleDict({"tower": small_vision()})
        rng = torch.Generator().manual_seed(0)

        def loss_at(done):
            return {"loss": modules["tower"](torch.randn(2, 3, 32, 32, generator=rng)).square().mean() * (1 + done)}

        made = optimisers([modules["tower"]], 1e-3, 0.1)
        fit("run", folder, modules, made, Schedule(8), rng, loss_at, lambda: {}, every=1, until=until)
        return modules.state_dict(), (folder / "run.jsonl").read_text()

    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    straight, curve = train(tmp_path / "straight", None)
    for until in [*stops, None]:
        stopped, again = train(tmp_path / "stopped", until)
    assert all(torch.equal(straight[key], stopped[key]) for key in straight)
    losses = [[json.loads(line)["loss"] for line in text.splitlines()] for text in (curve, again)]
    assert losses[0] == losses[1] and len(losses[0]) == 8


def test_a_checkpoint_of_another_length_is_refused(tmp_path):
    from learn import Schedule, fit, optimisers

    modules = nn.ModuleDict({"tower": small_vision()})
    made, rng = optimisers([modules], 1e-3, 0.1), torch.Generator()

    def loss_at(done):
        return {"loss": modules["tower"](torch.ones(1, 3, 32, 32)).sum()}

    fit("run", tmp_path, modules, made, Schedule(2), rng, loss_at, lambda: {}, every=1)
    with pytest.raises(ValueError, match="2 steps, not 3; delete it"):
        fit("run", tmp_path, modules, made, Schedule(3), rng, loss_at, lambda: {}, every=1)


def test_the_shipped_models_curves_stand_beside_a_training_of_the_same_length():
    import learn

    rows = [json.loads(line) for line in (learn.CURVES / "vision.jsonl").read_text().splitlines()]
    assert learn.recorded("vision", 100, rows[-1]["step"], ["motif"]) == {"motif": rows[0]["motif"]}
    assert learn.recorded("vision", 100, rows[-1]["step"] + 1, ["motif"]) is None
    assert learn.recorded("vision", 101, rows[-1]["step"], ["motif"]) is None
    assert [row["step"] for row in rows[:2]] == [100, 200] and rows[-1]["subgroup"] < rows[0]["subgroup"]


def test_the_rate_warms_up_and_falls_to_nothing_without_restarts():
    from learn import Schedule

    rates = [Schedule(200).rate(step) for step in range(200)]
    top = rates.index(max(rates))
    assert max(rates) == 1 and rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 1e-3


def test_an_unaltered_picture_stands_on_white():
    from augment import augment, on_white

    pictures = torch.randint(0, 256, (2, 16, 16, 4), dtype=torch.uint8)
    torch.testing.assert_close(augment(pictures, torch.Generator(), 0.0), on_white(pictures), atol=1e-5, rtol=0)
    empty = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    assert torch.equal(on_white(empty), torch.ones(1, 3, 4, 4))


def test_altered_pictures_stay_pictures_and_depend_on_the_generator_alone():
    from augment import augment

    pictures = torch.randint(0, 256, (8, 16, 16, 4), dtype=torch.uint8)
    first, again, other = (augment(pictures, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.min() >= 0 and first.max() <= 1 and first.isfinite().all()


def test_another_palette_changes_colours_and_nothing_else():
    from artwork import recolour

    body = (
        '<g fill="#ff0000" clip-path="url(#abc)"><path d="M0 0" fill="#f00"/><path stroke="#00f" transform="x(1)"/></g>'
    )
    changed = recolour(body, "a")
    assert changed == recolour(body, "a") != recolour(body, "b") and "url(#abc)" in changed
    assert "#ff0000" not in changed and "#00f" not in changed
    blank = recolour(body, "a").count("#")
    assert blank == body.count("#")


def test_a_mirrored_drawing_is_not_the_same_drawing():
    from artwork import upright

    icons = {"icons": {"cat": {}}, "aliases": {"tom": {"parent": "cat"}, "left": {"parent": "cat", "hFlip": True}}}
    assert (upright(icons, "tom"), upright(icons, "left"), upright(icons, "dog")) == ("cat", None, None)


def test_drawings_are_found_by_code_point_or_name_and_used_once():
    from artwork import match

    coded = ({"icons": {"kitty": {}}, "aliases": {"tabby": {"parent": "kitty"}}}, {"1f408": "kitty"})
    named = ({"icons": {"tabby": {}, "cat-face": {}}}, {})
    found = [
        {"code": "1f408", "label": "cat"},
        {"code": "1f408-fe0f", "label": "cat"},
        {"code": "1", "label": "cat face"},
    ]
    drawings = match(found, {"a": coded, "b": named})
    assert [(one["vendor"], one["icon"]) for one in drawings] == [("a", "kitty"), ("b", "tabby"), ("b", "cat-face")]


def test_a_word_has_its_own_vector_and_a_piece_the_mean_of_its_words():
    from clip.simple_tokenizer import SimpleTokenizer
    from words import token_vectors

    tokenizer = SimpleTokenizer()
    words = {"cat": np.array([1.0, 0.0]), "xqzcat": np.array([0.0, 1.0]), "dog": np.array([-1.0, 0.0])}
    table = token_vectors(words, tokenizer)
    cat, dog = (tokenizer.encode(word)[0] for word in ("cat", "dog"))
    first = tokenizer.encode("xqzcat")[0]
    assert table[cat][0] > 0 > table[dog][0] and table[first][1] > 0
    assert not table[tokenizer.encode("bird")[0]].any()


def test_a_word_for_two_subgroups_aims_between_them(tmp_path, monkeypatch):
    import captions

    (tmp_path / "subgroups.json").write_text(json.dumps({"a": ["food", "fruit"], "b": ["food"]}))
    monkeypatch.setattr(captions, "HERE", tmp_path)
    about = [
        {"motif": "pear", "label": "pear", "keywords": ["sweet"], "subgroup": "a"},
        {"motif": "bun", "label": "bun", "keywords": ["sweet", "food"], "subgroup": "b"},
    ]
    names = {"motif": ["bun", "pear"], "subgroup": ["a", "b"]}
    motif, subgroup = torch.eye(4)[:2], 3 * torch.eye(4)[2:]
    found = captions.collect(about, names, motif, subgroup)
    target = {phrase: found.targets[row] for rows in found.phrases.values() for phrase, row in rows}
    half = 0.5**0.5
    expected = {"food": [0, 0, half, half], "fruit": [0, 0, 1, 0], "sweet": [half, half, 0, 0], "pear": [0, 1, 0, 0]}
    for phrase, values in expected.items():
        torch.testing.assert_close(target[phrase], torch.tensor(values, dtype=torch.float32))
    assert [phrase for phrase, _ in found.phrases["class"]] == ["food", "fruit"]  # a keyword too, but meant as a class


def test_every_subgroup_has_words_and_none_is_a_class_name_of_the_benchmark():
    words = json.loads((HERE / "subgroups.json").read_text())
    classes = json.loads((HERE.parent / "emojinet_classes.json").read_text())
    assert {subgroup for subgroups in classes.values() for subgroup in subgroups} <= words.keys()
    assert all(phrases and not set(phrases) & set(classes) for phrases in words.values())


def test_the_logit_scale_is_the_likeliest():
    from train_text import best_scale

    rng = torch.Generator().manual_seed(0)
    cosines = torch.rand(4000, 5, generator=rng)
    labels = torch.multinomial((20 * cosines).softmax(1), 1, generator=rng)[:, 0]
    assert best_scale(cosines, labels) == pytest.approx(20, abs=2)


def test_half_classes_and_accuracy_among_them():
    from evaluate import accuracy, halves

    cosines, labels = torch.eye(4)[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 3])
    among = halves(4)
    assert [accuracy(cosines, labels, among[name]) for name in ("all", "base", "new")] == [75, 100, 50]
