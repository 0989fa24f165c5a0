"""Checkpoints of ours in the reference implementations' form: their names, their shapes, the same logits."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import recipe
import torch
from dassl.engine import TRAINER_REGISTRY
from trainer_factory import batches, configuration, logits, make

from promptclip.published_names import reference_name, rename
from runs.conversion import COUNTERPARTS, REFERENCES, convert
from runs.convert import main
from runs.record import write_config

GOLDEN = Path(__file__).parents[1] / "golden"
# golden file -> our trainer, whose form, and options that the file does not say
CASES = {
    "coop": ("CoOp", "coop", {}),
    "coop_csc": ("CoOp", "coop", {}),
    "coop_middle": ("CoOp", "coop", {}),
    "cocoop": ("CoCoOp", "cocoop", {}),
    "kgcoop": ("KgCoOp", "kgcoop", {}),
    "prograd": ("ProGrad", "coop", {}),
    "ivlp": ("IVLP", "ivlp", {"FS_WEIGHT": 1.0}),
    "lp": ("LPT", "ivlp", {}),
    "vpt": ("VPT", "vpt", {}),
    "maple": ("MaPLe", "maple", {}),
    "promptsrc": ("PromptSRC", "promptsrc", {}),
    "restore_m": ("RESTORE_m", "restore_m", {"VARIANT": "released"}),
}
NAMES = ["cat", "dog", "tench"]


def trained(weights, folder, name, geometry="tiny4", names=None, **options):
    """A trainer after one epoch, whose run lies in `folder`, and the test images."""
    node = TRAINER_REGISTRY.get(name).method.node
    opts = [item for key, value in options.items() for item in (f"TRAINER.{node}.{key}", value)]
    size = recipe.GEOMETRIES[geometry]["image_resolution"]
    train, test = recipe.images(size)
    torch.manual_seed(0)
    cfg = configuration(name, weights(geometry), size, folder, opts, epochs=1)
    trainer = make(cfg, names or NAMES, batches(train, torch.arange(8) % 3))
    trainer.train()
    write_config(cfg, folder)
    return trainer, test


@pytest.mark.parametrize("file", CASES)
def test_names_and_shapes_are_the_references_and_nothing_is_lost(file, weights, tmp_path):
    name, whose, more = CASES[file]
    numbers = np.load(GOLDEN / f"{file}.npz")
    meta = json.loads(str(numbers["meta"]))
    known = TRAINER_REGISTRY.get(name).method.options
    options = {key: value for key, value in meta["trainer_config"].items() if key in known and key != "PREC"} | more
    trainer, images = trained(weights, tmp_path / "run", name, meta["geometry"], meta["classnames"], **options)
    expected = logits(trainer, images)
    target, _ = convert(tmp_path / "run", None, None, None)

    reference = REFERENCES[whose]
    assert target == tmp_path / f"run-{whose}" / reference.folder / "model.pth.tar-1"
    state = torch.load(target, weights_only=True)["state_dict"]
    prefix = "" if reference.whole else "prompt_learner."
    wanted = {key.removeprefix(prefix): shape for key, shape in meta["trainable"].items()}
    wanted |= {key.removeprefix("final/"): [] for key in numbers.files if key.startswith("final/")}
    assert {key: list(value.shape) for key, value in state.items()} == wanted

    with torch.no_grad():
        for parameter in trainer.learner.parameters():
            parameter.zero_()
    if reference.folder == trainer.method.folder:
        trainer.load_model(str(tmp_path / f"run-{whose}"), epoch=1)
        assert torch.equal(logits(trainer, images), expected)


def test_every_name_has_its_way_back():
    for file in CASES:
        meta = json.loads(str(np.load(GOLDEN / f"{file}.npz")["meta"]))
        for key in meta["trainable"]:
            assert reference_name(rename(key), "prompt_learner.") == key


SMALL = {"PROMPT_DEPTH": 2}
SMALL_BOTH = {"PROMPT_DEPTH_TEXT": 2, "PROMPT_DEPTH_VISION": 2}


@pytest.mark.parametrize(
    ("name", "options", "to", "folder"),
    [
        ("RESTORE_m", SMALL | {"SURGERY": "none"}, None, "run-maple/MultiModalPromptLearner"),
        ("RESTORE_m", SMALL | {"SURGERY_ACT": "quickgelu"}, None, "run-restore_m/MultiModalPromptLearner"),
        ("RESTORE_p", SMALL_BOTH | {"SURGERY": "none"}, None, "run-promptsrc/VLPromptLearner"),
        ("IVLP", SMALL_BOTH | {"PROMPT_DEPTH_TEXT": 0}, None, "run-vpt/prompt_learner"),
        ("KgCoOp", {"CTX_INIT": "a picture of"}, None, "run-coop/prompt_learner"),
        ("PromptSRC", SMALL_BOTH, "ivlp", "run-ivlp/VLPromptLearner"),
    ],
)
def test_whose_form_follows_from_what_was_trained(name, options, to, folder, weights, tmp_path):
    trained(weights, tmp_path / "run", name, **options)
    target, _ = convert(tmp_path / "run", to, None, None)
    assert target.parent == tmp_path / folder


@pytest.mark.parametrize(
    ("name", "options", "to", "reason"),
    [
        ("RESTORE_m", SMALL, None, "SURGERY_ACT relu.*VARIANT released"),
        ("RESTORE_p", SMALL_BOTH, None, "code was not released"),
        ("VPT", {"PROMPT_DEPTH_VISION": 2, "CTX_INIT": "a sketch of a"}, None, "CTX_INIT 'a sketch of a'"),
        ("MaPLe", SMALL, "promptsrc", "PromptSRC does not compute what this MaPLe does.*--to maple"),
    ],
)
def test_what_has_no_counterpart_is_refused(name, options, to, reason, weights, tmp_path):
    trained(weights, tmp_path / "run", name, **options)
    with pytest.raises(ValueError, match=reason):
        convert(tmp_path / "run", to, None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.fixture(scope="module")
def coop(weights, tmp_path_factory):
    """The directory of a run of CoOp."""
    folder = tmp_path_factory.mktemp("coop") / "run"
    trained(weights, folder, "CoOp", N_CTX=2)
    return folder


@pytest.fixture
def run(coop, tmp_path):
    """One of one's own."""
    return shutil.copytree(coop, tmp_path / "run")


def test_the_command(run, capsys):
    assert main([str(run)]) == 0
    said = capsys.readouterr().out
    assert "run-coop/prompt_learner/model.pth.tar-1" in said
    assert "--trainer CoOp --eval-only" in said
    assert "TRAINER.COOP.N_CTX 2 TRAINER.COOP.CTX_INIT '' TRAINER.COOP.CSC False" in said
    assert main([str(run), "--to", "coop", "--load-epoch", "1", "--output-dir", str(run.parent / "there")]) == 0
    assert (run.parent / "there/prompt_learner/model.pth.tar-1").is_file()


def test_nothing_is_overwritten(run, capsys):
    before = (run / "prompt_learner/model.pth.tar-1").read_bytes()
    assert main([str(run), "--output-dir", str(run)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (run / "prompt_learner/model.pth.tar-1").read_bytes() == before


def test_the_last_epoch_is_taken_else_the_best_on_val(run):
    folder = run / "prompt_learner"
    shutil.copy(folder / "model.pth.tar-1", folder / "model-best.pth.tar")
    content = torch.load(folder / "model.pth.tar-1", weights_only=True)
    torch.save(content | {"epoch": 10}, folder / "model.pth.tar-10")
    torch.save(content | {"epoch": 9}, folder / "model.pth.tar-9")
    torch.save(content | {"epoch": 10}, folder / "model.pth.tar-10-batch-3")
    assert convert(run, None, None, None)[0].name == "model.pth.tar-10"
    assert convert(run, None, 9, None)[0].name == "model.pth.tar-9"
    for file in folder.glob("model.pth.tar-*"):
        file.unlink()
    assert convert(run, None, None, None)[0].name == "model.pth.tar-1"


def spoil(run, change):
    path = run / "prompt_learner/model.pth.tar-1"
    content = torch.load(path, weights_only=True)
    content["state_dict"] = change(content["state_dict"])
    torch.save(content, path)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda run: (run / "config.yaml").unlink(), "no config.yaml"),
        (lambda run: (run / "config.yaml").write_text("a: ["), "config.yaml is damaged"),
        (lambda run: (run / "config.yaml").write_text("TRAINER: {NAME: Mine}"), "'Mine', which is none of this"),
        (lambda run: (run / "config.yaml").write_text("TRAINER: {NAME: ZeroshotCLIP}"), "learns nothing"),
        (lambda run: shutil.rmtree(run / "prompt_learner"), "holds none at all"),
        (lambda run: (run / "prompt_learner/model.pth.tar-1").write_bytes(b"PK"), "model.pth.tar-1"),
        (lambda run: spoil(run, lambda state: {}), "holds nothing that CoOp learns"),
        (lambda run: spoil(run, lambda state: {"ctx": state["ctx"] / 0}), "ctx is infinite, NaN"),
    ],
)
def test_what_cannot_be_converted_is_told_in_a_sentence(harm, reason, run, capsys):
    harm(run)
    assert main([str(run)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert reason in err
    assert err.count("\n") == 1


def test_every_method_has_an_answer():
    learning = {name for name in TRAINER_REGISTRY.registered_names() if _learns(TRAINER_REGISTRY.get(name))}
    assert learning == set(COUNTERPARTS)


def _learns(trainer):
    method = getattr(trainer, "method", None)
    return method is not None and method.learns and trainer.__module__.startswith("trainers.")
