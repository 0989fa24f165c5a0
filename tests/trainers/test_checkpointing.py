"""MODEL.CHECKPOINTING: decided and said before the first step, and without effect on what is trained."""

import pytest
import recipe
import torch
from small_clip import clip_model
from trainer_factory import NAMES, batches, configuration, make

from benchmarks.measure import saved_bytes
from benchmarks.setting import METHODS, batch, build, class_names
from promptclip import PromptedCLIP


@pytest.mark.parametrize("method", ["RESTORE_m", "CoCoOp"])
def test_training_is_the_same_bit_for_bit(weights, tmp_path, capsys, method):
    images, _ = recipe.images(32)
    learned, said = [], []
    for choice in ("off", "on"):
        cfg = configuration(method, weights("tiny12"), 32, tmp_path / choice, epochs=1)
        cfg.defrost()
        cfg.MODEL.CHECKPOINTING = choice
        cfg.freeze()
        torch.manual_seed(0)
        trainer = make(cfg, NAMES, batches(images, torch.arange(8) % 6))
        capsys.readouterr()
        trainer.train()
        said.append([line for line in capsys.readouterr().out.splitlines() if "CHECKPOINTING" in line])
        learned.append(trainer.learner.state_dict())
    assert ["activations are kept" in said[0][0], "computed again" in said[1][0]] == [True, True]
    for name, value in learned[0].items():
        assert torch.equal(value, learned[1][name]), name


def test_another_choice_is_refused_before_the_first_step(weights, tmp_path):
    cfg = configuration("MaPLe", weights("tiny12"), 32, tmp_path, epochs=1)
    cfg.defrost()
    cfg.MODEL.CHECKPOINTING = "sometimes"
    trainer = make(cfg, NAMES, batches(recipe.images(32)[0], torch.arange(8) % 6))
    with pytest.raises(ValueError, match="'sometimes' is none of auto, on, off"):
        trainer.train()


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_the_estimate_is_near_what_a_step_keeps(method, rows):
    """Of every method that the benchmarks build, with all that it changes in the towers."""
    names, model = class_names(40), clip_model("tiny12")
    trainer = build(method, "fast", names, model)
    trainer.clip = PromptedCLIP(trainer.clip.model, rows)
    trainer.classes = trainer.learner.classes(trainer.clip, names)
    for action in trainer.learner.before_step:
        action()
    images = batch(names, 4, 32)["img"]
    weights = torch.nn.ModuleList([trainer.clip.model, trainer.learner])
    counted = saved_bytes(lambda: trainer.learner(trainer.clip, trainer.classes, images), weights)
    assert 0.85 < trainer.needed_bytes(4) / counted < 1.15
