"""Checkpoints, ours and in the form of the field's repositories, become classifiers that say what the trainer says."""

import pytest
import torch
from behaviour import ENTRIES, build, data
from trainer_factory import NAMES, logits

import promptclip
from promptclip.checkpoint_file import load_checkpoint
from promptclip.published_names import reference_name
from promptclip.published_parts import METHODS

LABELS = [label for label, name, _ in ENTRIES if name in METHODS]


@pytest.fixture(scope="module")
def trained(weights, tmp_path_factory):
    """trained(label) -> (directory of a training, probabilities of its trainer, what loading has to be told)."""
    made = {}

    def train(label):
        if label not in made:
            entry = next(entry for entry in ENTRIES if entry[0] == label)
            place = tmp_path_factory.mktemp("run")
            trainer = build(entry, weights, place, epochs=1)
            trainer.train()
            told = {"words": trainer.options.get("CTX_INIT", "")}
            if "SURGERY_ACT" in trainer.options:
                paper = trainer.options.VARIANT == "paper"
                told["activation"] = trainer.options.SURGERY_ACT if paper else None
            probabilities = logits(trainer, data()[1]).softmax(1)
            made[label] = place, probabilities, told | {"method": entry[1], "backbone": weights("tiny4")}
        return made[label]

    return train


@pytest.fixture
def change(trained, tmp_path):
    """change(label, function) -> a directory with the training's checkpoint as `function(checkpoint)` leaves it."""

    def write(label, function):
        (path,) = trained(label)[0].glob("*/model.pth.tar-1")
        checkpoint = load_checkpoint(str(path))
        changed = function(checkpoint) or checkpoint
        target = tmp_path / path.parent.name / path.name
        target.parent.mkdir(exist_ok=True)
        torch.save(changed, target)
        return tmp_path

    return write


@pytest.mark.parametrize("label", LABELS)
def test_our_checkpoint_says_what_the_trainer_said(label, trained, tmp_path):
    place, expected, told = trained(label)
    model = promptclip.load(place, classes=NAMES, epoch=1, **told)
    torch.testing.assert_close(model.logits(data()[1]).softmax(1), expected, rtol=0, atol=1e-6)
    model.save(tmp_path / "saved")
    saved = promptclip.load(tmp_path / "saved")
    torch.testing.assert_close(saved.logits(data()[1]).softmax(1), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("label", LABELS)
def test_a_checkpoint_as_it_was_published_says_it_too(label, trained, change):
    """With the references' names, all of their model beside what was learned, and no word on method and backbone."""
    _, expected, told = trained(label)
    whole = "" if told["method"] in ("CoOp", "CoCoOp", "KgCoOp", "ProGrad") else "prompt_learner."

    def publish(checkpoint):
        kept = {k: v for k, v in checkpoint["state_dict"].items() if not k.startswith(("average", "shift_scale"))}
        state = {reference_name(key, whole): value for key, value in kept.items()}
        state |= {f"{whole}token_prefix": torch.ones(6, 1, 64), f"{whole}token_suffix": torch.ones(6, 74, 64)}
        state |= {"image_encoder.conv1.weight": torch.ones(3), "logit_scale": torch.ones(())} if whole else {}
        return {"state_dict": state, "epoch": 1}

    model = promptclip.load(change(label, publish), classes=NAMES, **told)
    torch.testing.assert_close(model.logits(data()[1]).softmax(1), expected, rtol=0, atol=1e-6)


def without(key):
    return lambda checkpoint: checkpoint["state_dict"].__delitem__(key)


def with_value(key, value):
    return lambda checkpoint: checkpoint["state_dict"].update({key: value})


BROKEN = [
    ("MaPLe", without("ctx"), "it lacks ctx"),
    ("MaPLe", without("proj.bias"), "it lacks proj.bias"),
    ("MaPLe", with_value("magic", torch.ones(1)), "it holds magic, which MaPLe does not learn"),
    ("MaPLe", with_value("ctx", torch.full((2, 64), float("nan"))), "infinite or NaN values in ctx"),
    ("MaPLe", with_value("ctx", torch.ones(2, dtype=torch.long)), "its ctx is torch.int64"),
    ("MaPLe", with_value("ctx", torch.ones(1, 1).expand(10**6, 10**6)), "larger than the file"),
    ("IVLP", with_value("ctx", torch.ones(2, 63)), "does not fit the backbone"),
    ("IVLP", with_value("text_deep.2", torch.ones(2, 64)), None),
    ("IVLP", with_value("text_deep.1", torch.ones(3, 64)), "does not fit the backbone"),
    ("CoCoOp", with_value("meta_net.linear1.bias", torch.ones(9)), "is none of CoCoOp's"),
    ("RESTORE_m", with_value("text_surgery.ln.bias", torch.ones(9)), "is none of RESTORE_m's"),
    ("VPT", lambda checkpoint: checkpoint.update(backbone={"name": "ViT-B/16", "digest": "0" * 8}), "another backbone"),
    ("VPT", lambda checkpoint: {"state_dict": [1, 2]}, "no weights by name"),
]


@pytest.mark.parametrize(("label", "harm", "sentence"), BROKEN)
def test_what_does_not_fit_is_refused(label, harm, sentence, trained, change):
    place, told = change(label, harm), trained(label)[2]
    if sentence is None:  # four blocks take four prompts
        assert promptclip.load(place, classes=NAMES, **told).classes == NAMES
        return
    with pytest.raises(ValueError, match=sentence):
        promptclip.load(place, classes=NAMES, **told)


def test_another_methods_checkpoint_is_refused(trained):
    place, _, told = trained("MaPLe")
    with pytest.raises(ValueError, match="none of PromptSRC's .*it holds compound_prompt"):
        promptclip.load(place, classes=NAMES, **told | {"method": "PromptSRC"})
    with pytest.raises(ValueError, match="no method with published checkpoints 'Maple': did you mean 'MaPLe'"):
        promptclip.load(place, classes=NAMES, **told | {"method": "Maple"})
    with pytest.raises(ValueError, match="give backbone= and classes="):
        promptclip.load(place, method="MaPLe")
    with pytest.raises(FileNotFoundError, match="model.pth.tar-9 .*holds .*model.pth.tar-1"):
        promptclip.load(place, classes=NAMES, epoch=9, **told)


def test_class_specific_contexts_need_their_classes(trained):
    place, _, told = trained("CoOp csc")
    with pytest.raises(ValueError, match="has contexts for 6 classes, and 2 class names"):
        promptclip.load(place, classes=["cat", "dog"], **told)


def test_a_checkpoint_that_could_run_code_is_refused(tmp_path):
    class Runs:
        def __reduce__(self):
            return print, ("executed",)

    (tmp_path / "prompt_learner").mkdir()
    torch.save({"state_dict": {"ctx": Runs()}}, tmp_path / "prompt_learner/model.pth.tar-1")
    with pytest.raises(ValueError, match="could run code"):
        promptclip.load(tmp_path, method="CoOp", backbone="EmojiCLIP", classes=["cat"])
