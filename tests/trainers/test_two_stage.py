"""2SFS against numbers of its reference: LayerNorms, then a classifier; inference chosen name by name."""

import json
from pathlib import Path

import numpy as np
import pytest
import recipe
import torch
from golden import LORA, close
from trainer_factory import batches, configuration, logits, make

GOLDEN = Path(__file__).parents[1] / "golden_2"


def our_name(key):
    tower = "visual" if key.startswith("visual.") else "text"
    return f"{tower}_norms.{key.partition('resblocks.')[2]}"


@pytest.fixture(scope="module")
def run(weights, tmp_path_factory):
    """(numbers, meta, trainer, what was seen on the way)."""
    numbers = np.load(GOLDEN / "two_stage.npz")
    meta = json.loads(str(numbers["meta"]))
    opts = [item for key, value in LORA.items() for item in (f"OPTIM.{key}", value)]
    cfg = configuration("TwoStage", weights("tiny12"), 32, tmp_path_factory.mktemp("two_stage"), opts, epochs=5)
    train, test = recipe.images(32)
    trainer = make(cfg, meta["classnames"], batches(train, numbers["labels"], 4))
    seen = {"lr": [], "losses": [], "norms": [], "gradients": [], "init_logits": logits(trainer, train)}
    step = trainer.forward_backward

    def watched(batch):
        seen["lr"].append(trainer.get_current_lr())
        if len(seen["lr"]) == 7:
            seen["start"] = trainer.learner.head.classifier.detach().clone()
        seen["losses"].append(step(batch)["loss"])
        grads = {name: one.grad is not None for name, one in trainer.learner.named_learned().items()}
        seen["gradients"].append({name.split(".")[0] for name, has in grads.items() if has})
        if len(seen["losses"]) == 7:
            seen["gradient"] = trainer.learner.head.classifier.grad.clone()
        return {"loss": seen["losses"][-1]}

    trainer.forward_backward = watched
    trainer.train()
    return numbers, meta, trainer, seen, torch.from_numpy(test)


def test_training(run):
    numbers, meta, trainer, seen, _ = run
    assert close(seen["init_logits"], numbers["init_logits"])
    assert close(seen["losses"], numbers["loss/loss"])
    np.testing.assert_allclose(seen["lr"], numbers["lr"], rtol=1e-6)
    assert close(seen["start"], numbers["stage2_init_classifier"])
    assert close(seen["gradient"], numbers["stage2_grad0/classifier"])
    assert seen["gradients"][:6] == [{"text_norms", "visual_norms"}] * 6
    assert seen["gradients"][6:] == [{"classifier"}] * 4
    state = trainer.learner.state_dict()
    for key in meta["trainable"]:
        ours = state[our_name(key)].double()
        assert close(ours.norm(), numbers[f"final_norm/{key}"], 1.5e-6), key
        assert close(ours[:16], numbers[f"final_head/{key}"]), key
    assert {our_name(key) for key in meta["trainable"]} | {"classifier"} == set(trainer.learner.named_learned())


def test_each_name_has_its_inference(run):
    numbers, meta, trainer, _, images = run
    assert close(logits(trainer, images), numbers["test_logits"])
    for names, key, said in (
        ("new_classnames", "test_logits_new", "text tower"),
        ("mixed_classnames", "test_logits_mixed", "classifier for 2 classes, text tower for 2"),
    ):
        trainer.classes = trainer.learner.classes(trainer.clip, meta[names])
        trainer._text_features = None
        assert close(logits(trainer, images), numbers[key])
        assert trainer.learner.head.inference(trainer.classes) == said
