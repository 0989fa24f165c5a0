"""Checkpoints as the field's repositories publish them: what is learned is taken, the rest ignored by name."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import recipe
import torch
from dassl.engine import TRAINER_REGISTRY
from small_clip import clip_state
from trainer_factory import batches, configuration, make

from trainers.checkpoints import read

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {
    "coop": "CoOp",
    "cocoop": "CoCoOp",
    "kgcoop": "KgCoOp",
    "maple": "MaPLe",
    "ivlp": "IVLP",
    "vpt": "VPT",
    "lp": "LPT",
    "promptsrc": "PromptSRC",
    "restore_m": "RESTORE_m",
}


def published_state(file, numbers, meta):
    """What the reference saves: its parameters under its names, class-dependent buffers, and all of CLIP."""
    state = {key: torch.from_numpy(recipe.initial_parameter(key, shape)) for key, shape in meta["trainable"].items()}
    alone = file in ("coop", "cocoop", "kgcoop")  # these register the prompt learner by itself
    if alone:
        state = {key.removeprefix("prompt_learner."): value for key, value in state.items()}
    prefix = "" if alone else "prompt_learner."
    state |= {f"{prefix}token_prefix": torch.zeros(6, 1, 64), f"{prefix}token_suffix": torch.zeros(6, 70, 64)}
    if not alone:
        for key, value in clip_state(meta["geometry"]).items():
            if key.startswith("visual."):
                state[key.replace("visual.", "image_encoder.", 1)] = value
            elif key == "logit_scale":
                state[key] = value
            else:
                state[f"text_encoder.{key}"] = value
    if file == "promptsrc":
        state["prompt_learner.ZS_image_encoder.conv1.weight"] = torch.zeros(3)
    if file == "kgcoop":
        state |= {"bias_vectors": torch.zeros(1, 2), "meta_net.linear1.weight": torch.zeros(4, 64)}
    for key in (key for key in numbers.files if key.startswith("final/")):
        state[key.removeprefix("final/")] = torch.tensor(float(numbers[key]))
    return state


@pytest.fixture(params=CASES)
def case(request, weights, tmp_path):
    """(file, trainer, what is published, its folder)."""
    file, name = request.param, CASES[request.param]
    numbers = np.load(GOLDEN / f"{file}.npz")
    meta = json.loads(str(numbers["meta"]))
    size = recipe.GEOMETRIES[meta["geometry"]]["image_resolution"]
    known = TRAINER_REGISTRY.get(name).method.options
    options = {key: value for key, value in meta["trainer_config"].items() if key in known and key != "PREC"}
    options |= {"VARIANT": "released"} if file == "restore_m" else {}
    node = TRAINER_REGISTRY.get(name).method.node
    opts = [item for key, value in options.items() for item in (f"TRAINER.{node}.{key}", value)]
    cfg = configuration(name, weights(meta["geometry"]), size, tmp_path / "run", opts)
    images = recipe.images(size)[0]
    trainer = make(cfg, meta["classnames"], batches(images, numbers["labels"]))
    state = published_state(file, numbers, meta)
    folder = tmp_path / "published" / trainer.method.folder
    folder.mkdir(parents=True)
    return file, trainer, state, folder


def publish(state, folder):
    torch.save({"state_dict": state, "epoch": 5, "optimizer": {}, "val_result": None}, folder / "model.pth.tar-5")


def test_published_weights_load(case):
    file, trainer, state, folder = case
    publish(state, folder)
    trainer.load_model(str(folder.parent), epoch=5)
    numbers = np.load(GOLDEN / f"{file}.npz")
    meta = json.loads(str(numbers["meta"]))
    sums = sorted(round(float(np.abs(recipe.initial_parameter(k, s)).sum()), 2) for k, s in meta["trainable"].items())
    ours = sorted(round(parameter.abs().sum().item(), 2) for parameter in trainer.learner.parameters())
    np.testing.assert_allclose(ours, sums, rtol=1e-4)
    if file == "restore_m":
        assert trainer.learner.corrections.text_alpha.value.item() == pytest.approx(
            float(numbers["final/text_cali_ratio"])
        )
        assert trainer.learner.corrections.image_alpha.value.item() == pytest.approx(
            float(numbers["final/vis_cali_ratio"])
        )


def test_anything_unexpected_is_refused(case):
    _, trainer, state, folder = case
    publish(state | {"prompt_learner.surprise": torch.zeros(1)}, folder)
    with pytest.raises(ValueError, match="it holds surprise"):
        trainer.load_model(str(folder.parent), epoch=5)


def test_another_backbone_width_is_refused(case):
    _, trainer, state, folder = case
    learned = set(trainer.learner.named_learned())
    wide = {key: value.repeat_interleave(2, -1) if value.dim() > 1 else value for key, value in state.items()}
    publish(wide, folder)
    with pytest.raises(ValueError, match=r"does not fit .* where this run has") as error:
        trainer.load_model(str(folder.parent), epoch=5)
    assert any(f"its {key} is" in str(error.value) for key in learned)


def trained(weights, folder, name="RESTORE_m", epochs=1, **options):
    """A run directory of a short training, and how to build a trainer with other options."""
    method = TRAINER_REGISTRY.get(name).method

    def build(directory, **options):
        opts = [item for key, value in options.items() for item in (f"TRAINER.{method.node}.{key}", value)]
        cfg = configuration(name, weights("tiny4"), 32, directory, opts, epochs)
        torch.manual_seed(0)
        return make(cfg, ["cat", "dog", "tench"], batches(recipe.images(32)[0], torch.arange(8) % 3))

    build(folder, **options).train()
    return folder, build


SMALL = {"PROMPT_DEPTH": 2}
SMALL_P = {"PROMPT_DEPTH_TEXT": 2, "PROMPT_DEPTH_VISION": 2}


@pytest.mark.parametrize(
    ("name", "trained_with", "asked", "option"),
    [
        ("RESTORE_m", {"VARIANT": "released"}, {}, "VARIANT 'released'"),
        ("RESTORE_m", {}, {"VARIANT": "released"}, "VARIANT 'paper'"),
        ("RESTORE_m", {"SURGERY_ACT": "quickgelu"}, {}, "SURGERY_ACT 'quickgelu'"),
        ("RESTORE_p", {"SURGERY_ACT": "quickgelu"}, {}, "SURGERY_ACT 'quickgelu'"),
        ("MaPLe", {"CTX_INIT": ""}, {}, "CTX_INIT ''"),
        ("CoOp", {"CLASS_TOKEN_POSITION": "front"}, {}, "CLASS_TOKEN_POSITION 'front'"),
    ],
)
def test_what_a_checkpoint_was_trained_with_decides(name, trained_with, asked, option, weights, tmp_path):
    small = {"RESTORE_m": SMALL, "MaPLe": SMALL, "RESTORE_p": SMALL_P, "CoOp": {"N_CTX": 2}}[name]
    folder, build = trained(weights, tmp_path / "run", name, **small, **trained_with)
    same = build(tmp_path / "same", **small, **trained_with)
    same.load_model(str(folder), epoch=1)
    with pytest.raises(ValueError, match=f"was trained with TRAINER.{name.upper()}.{option}, and this run has"):
        build(tmp_path / "other", **small, **asked).load_model(str(folder), epoch=1)


def test_a_checkpoint_of_an_earlier_version_is_told_by_its_run(weights, tmp_path):
    """Earlier checkpoints say nothing of themselves; config.yaml beside them, or their names, do."""
    folder, build = trained(weights, tmp_path / "run", **SMALL, SURGERY_ACT="quickgelu")
    path = folder / "MultiModalPromptLearner" / "model.pth.tar-1"
    checkpoint = torch.load(path, weights_only=True)
    earlier = {key: value for key, value in checkpoint.items() if key not in ("method", "options", "backbone")}
    torch.save(earlier, path)
    node = {"NAME": "RESTORE_m", "RESTORE_M": {"SURGERY_ACT": "quickgelu", "VARIANT": "paper"}}
    (folder / "config.yaml").write_text(json.dumps({"TRAINER": node}))
    with pytest.raises(ValueError, match="RESTORE_M.SURGERY_ACT 'quickgelu'"):
        build(tmp_path / "other", **SMALL).load_model(str(folder), epoch=1)
    build(tmp_path / "same", **SMALL, SURGERY_ACT="quickgelu").load_model(str(folder), epoch=1)


def test_another_backbone_of_the_same_shapes_is_refused(weights, tmp_path):
    folder, _ = trained(weights, tmp_path / "run", "CoOp", N_CTX=2)
    state = torch.load(weights("tiny4"), weights_only=True)
    torch.save(state | {"text_projection": state["text_projection"] * 1.01}, tmp_path / "other.pt")
    shutil.copy(weights("tiny4"), tmp_path / "copy.pt")

    def load(backbone):
        cfg = configuration("CoOp", str(backbone), 32, tmp_path / "out", ["TRAINER.COOP.N_CTX", 2], 1)
        trainer = make(cfg, ["cat", "dog", "tench"], batches(recipe.images(32)[0], torch.arange(8) % 3))
        trainer.load_model(str(folder), epoch=1)

    load(tmp_path / "copy.pt")
    with pytest.raises(ValueError, match="was trained on the backbone .*set MODEL.BACKBONE.NAME to what it was"):
        load(tmp_path / "other.pt")
    path = folder / "prompt_learner" / "model.pth.tar-1"
    checkpoint = torch.load(path, weights_only=True)
    torch.save({key: value for key, value in checkpoint.items() if key != "backbone"}, path)
    load(tmp_path / "other.pt")  # an earlier version's, of a file: nothing is known of it
    (folder / "config.yaml").write_text("MODEL: {BACKBONE: {NAME: ViT-B/16}}")
    trainer = build_named(weights, tmp_path, "ViT-B/32")
    with pytest.raises(ValueError, match="the backbone ViT-B/16, and this run has ViT-B/32"):
        read(path, trainer.method, trainer.options, trainer.learner, trainer.backbone_identity)


def build_named(weights, folder, name):
    """A trainer on a small backbone that says it is the one of that name."""
    cfg = configuration("CoOp", weights("tiny4"), 32, folder / "named", ["TRAINER.COOP.N_CTX", 2], 1)
    trainer = make(cfg, ["cat", "dog", "tench"], batches(recipe.images(32)[0], torch.arange(8) % 3))
    trainer.cfg = cfg.clone()
    trainer.cfg.defrost()
    trainer.cfg.MODEL.BACKBONE.NAME = name
    return trainer


def test_resuming_asks_as_much_of_a_checkpoint_as_an_evaluation(weights, tmp_path):
    folder, build = trained(weights, tmp_path / "run", **SMALL, SURGERY_ACT="quickgelu")
    build(tmp_path / "same", **SMALL, SURGERY_ACT="quickgelu").resume_model_if_exist(str(folder))
    with pytest.raises(ValueError, match="RESTORE_M.SURGERY_ACT 'quickgelu', and this run has 'relu'"):
        build(tmp_path / "other", **SMALL).resume_model_if_exist(str(folder))


@pytest.mark.parametrize("kind", [torch.int64, torch.complex64, "sparse", "meta"])
def test_weights_of_another_kind_are_refused(weights, tmp_path, kind):
    """Whole numbers would be prompts of zeros; of complex ones torch drops a part."""
    folder, build = trained(weights, tmp_path / "run", **SMALL)
    path = folder / "MultiModalPromptLearner" / "model.pth.tar-1"
    checkpoint = torch.load(path, weights_only=True)
    ctx = checkpoint["state_dict"]["ctx"]
    checkpoint["state_dict"]["ctx"] = {"sparse": ctx.to_sparse, "meta": partial(ctx.to, "meta")}.get(
        kind, partial(ctx.to, kind)
    )()
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match="model.pth.tar-1 .*(its ctx holds torch|holds ctx, which is no plain tensor)"):
        build(tmp_path / "other", **SMALL).load_model(str(folder), epoch=1)


@pytest.mark.parametrize("case", ["restore_m"], indirect=True)
def test_the_release_is_recognised_by_its_names(case):
    _, trainer, state, folder = case
    publish(state, folder)
    method = trainer.method
    options = method.defaults()
    with pytest.raises(ValueError, match="add TRAINER.RESTORE_M.VARIANT 'released' to the command"):
        read(folder / "model.pth.tar-5", method, options, trainer.learner, {"name": "ViT-B/16", "digest": ""})
