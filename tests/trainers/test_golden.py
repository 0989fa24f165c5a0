"""Every method against numbers computed by its reference implementation, run in float32 on the CPU.

golden/<file>.npz: weights, images and initial parameters come from support/recipe.py. Tolerances: logits 1e-4
absolute, losses and parameters 1e-4 relative, after three epochs of two steps.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import recipe
import torch
from dassl.engine import TRAINER_REGISTRY
from trainer_factory import batches, configuration, logits, make

from trainers.checkpoints import rename

GOLDEN = Path(__file__).parents[1] / "golden"
# file -> our trainer, our configuration, and our name for a logged loss where it differs
CASES = {
    "zsclip": ("ZeroshotCLIP", {}),
    "zsclip2": ("ZeroshotCLIP2", {}),
    "coop": ("CoOp", {}),
    "coop_csc": ("CoOp", {}),
    "coop_middle": ("CoOp", {}),
    "cocoop": ("CoCoOp", {}),
    "kgcoop": ("KgCoOp", {"W": 1.0}),
    "prograd": ("ProGrad", {}),
    "ivlp": ("IVLP", {}),
    "lp": ("LPT", {}),
    "vpt": ("VPT", {}),
    "maple": ("MaPLe", {}),
    "promptsrc": ("PromptSRC", {}),
    "restore_m": ("RESTORE_m", {"VARIANT": "released", "PREC": "fp32"}),
}
RENAMED_OPTIONS = {"VIS_CALIB_R": "ALPHA_IMAGE", "TEXT_CALIB_R": "ALPHA_TEXT", "FS_LOSS_R": "FS_WEIGHT"}
NOT_OURS = {"kgcoop": ("CSC", "CLASS_TOKEN_POSITION"), "prograd": ("CSC", "CLASS_TOKEN_POSITION")}
NOT_OURS["lp"] = ("N_CTX_VISION", "PROMPT_DEPTH_VISION")


def test_every_golden_file_is_checked():
    assert {path.stem for path in GOLDEN.glob("*.npz")} == set(CASES)


def close(ours, reference, relative=1e-4):
    """Largest difference against the largest entry."""
    ours, reference = np.asarray(ours, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    return np.abs(ours - reference).max() <= relative * max(np.abs(reference).max(), 1e-12)


@pytest.fixture(scope="module", params=CASES)
def run(request, weights, tmp_path_factory):
    """One method trained as its reference was: (file, numbers, trainer before, what was seen on the way)."""
    file, (name, extra) = request.param, CASES[request.param]
    numbers = np.load(GOLDEN / f"{file}.npz")
    meta = json.loads(str(numbers["meta"]))
    geometry = recipe.GEOMETRIES[meta["geometry"]]
    node = TRAINER_REGISTRY.get(name).method.node
    options = {RENAMED_OPTIONS.get(key, key): value for key, value in meta["trainer_config"].items()} | extra
    listed = [f"OPTIM.{key}" for key in ("LR", "MAX_EPOCH", "WEIGHT_DECAY", "MOMENTUM")]
    opts = [item for key in listed for item in (key, meta["optim"][key.split(".")[1]])]
    for key, value in options.items():
        if key not in NOT_OURS.get(file, ()):
            opts += [f"TRAINER.{node}.{key}", value]
    train, test = recipe.images(geometry["image_resolution"])
    cfg = configuration(
        name, weights(meta["geometry"]), geometry["image_resolution"], tmp_path_factory.mktemp(file), opts
    )
    trainer = make(cfg, meta["classnames"], batches(train, numbers["labels"], meta["batch_size"]))
    seen = {"lr": [], "losses": []}
    if meta["trainable"]:
        state = trainer.learner.state_dict()
        for key, shape in meta["trainable"].items():
            assert tuple(shape) == tuple(state[rename(key)].shape)
            state[rename(key)] = torch.from_numpy(recipe.initial_parameter(key, shape))
        trainer.learner.load_state_dict(state)
    seen["init_logits"] = logits(trainer, train)
    if meta["trainable"]:
        step = trainer.forward_backward

        def watched(batch):
            seen["lr"].append(trainer.optim.param_groups[0]["lr"])
            seen["losses"].append(step(batch))
            if len(seen["losses"]) == 1:
                seen["gradients"] = {k: p.grad.clone() for k, p in trainer.learner.named_learned().items()}
            return seen["losses"][-1]

        trainer.forward_backward = watched
        trainer.train()
    seen["test_logits"] = logits(trainer, test)
    return file, numbers, meta, trainer, seen


def test_logits_at_the_start(run):
    _, numbers, _, _, seen = run
    assert np.abs(seen["init_logits"].numpy() - numbers["init_logits"]).max() < 1e-4


def test_logits_at_the_end(run):
    _, numbers, _, _, seen = run
    assert np.abs(seen["test_logits"].numpy() - numbers["test_logits"]).max() < 1e-4


def test_losses_and_learning_rates(run):
    _, numbers, meta, _, seen = run
    for key in (key for key in numbers.files if key.startswith("loss/")):
        ours = [step[key.removeprefix("loss/")] for step in seen["losses"]]
        np.testing.assert_allclose(ours, numbers[key], rtol=1e-4)
    if meta["trainable"]:
        np.testing.assert_allclose(seen["lr"], numbers["lr"], rtol=1e-9)
    else:
        assert np.abs(trainer_text(run) - numbers["text_features"]).max() < 1e-5


def trainer_text(run):
    return run[3].classes.text.numpy()


def test_gradients_of_the_first_step(run):
    _, numbers, meta, _, seen = run
    for key in meta["trainable"]:
        ours = seen["gradients"][rename(key)].flatten()
        assert close(ours.norm(), numbers[f"grad0_norm/{key}"]), key
        head = numbers[f"grad0_head/{key}"]
        assert np.abs(ours[:16].numpy() - head).max() <= 1e-3 * np.abs(head).max() + 1e-7, key


def test_parameters_after_training(run):
    _, numbers, meta, trainer, _ = run
    state = trainer.learner.state_dict() if meta["trainable"] else {}
    for key in meta["trainable"]:
        ours = state[rename(key)].flatten()
        assert close(ours.norm(), numbers[f"final_norm/{key}"]), key
        assert close(ours[:16], numbers[f"final_head/{key}"]), key
    for key in (key for key in numbers.files if key.startswith("final/")):
        assert close(state[rename(key.removeprefix("final/"))], numbers[key]), key


def test_exactly_the_reference_parameters_are_trained(run):
    _, _, meta, trainer, _ = run
    ours = set(trainer.learner.named_learned()) if meta["trainable"] else set()
    assert ours == {rename(key) for key in meta["trainable"]}
