"""Code written in the style of CoOp (in conftest.py) runs unchanged."""

import os.path as osp
import random
import re

import pytest
import torch
from dassl.engine import TRAINER_REGISTRY
from dassl.utils import check_isfile, load_checkpoint, read_json


def _accuracies(log, after):
    """Return the numbers that CoOp's parse_test_res takes from a log, after its arming line."""
    lines = log.read_text().splitlines()
    found = [re.search(r"\* accuracy: ([\.\deE+-]+)%", line) for line in lines[lines.index(after) :]]
    return [float(m.group(1)) for m in found if m]


@pytest.mark.parametrize("precision", ["fp32", "amp"])
def test_coop_trains_on_base_and_is_tested_on_new(run_coop_style, tmp_path, precision):
    options = ("DATASET.NUM_SHOTS", "4", "TRAINER.COOP.PREC", precision)
    base, new = tmp_path / "train_base" / "seed1", tmp_path / "test_new" / "seed1"
    trained = run_coop_style(base, "ToyCoOp", *options, "DATASET.SUBSAMPLE_CLASSES", "base")
    assert trained.dm.dataset.classnames == ["ant", "bee"]
    assert sorted(p.name for p in base.iterdir()) == ["log.txt", "prompt_learner", "tensorboard"]
    assert sorted(p.name for p in (base / "prompt_learner").iterdir()) == ["checkpoint", "model.pth.tar-4"]
    assert len(_accuracies(base / "log.txt", "Finish training")) == 1
    assert check_isfile(str(tmp_path / "pets" / "shot_4-seed_1.pkl"))

    options += ("DATASET.SUBSAMPLE_CLASSES", "new")
    evaluated = run_coop_style(new, "ToyCoOp", *options, model_dir=str(base), load_epoch=4, eval_only=True)
    assert evaluated.dm.dataset.classnames == ["cat"]
    assert torch.equal(evaluated.model.prompt_learner.ctx, trained.model.prompt_learner.ctx)
    assert _accuracies(new / "log.txt", "=> result") == [100.0]


def test_seeds_pick_the_published_images_and_zero_is_one(run_coop_style, tmp_path):
    drawn = {}
    for seed in (0, 1):
        trainer = run_coop_style(f"{seed}", "ToyZeroshot", "DATASET.NUM_SHOTS", "2", seed=seed, eval_only=True)
        drawn[seed] = [item.impath for item in trainer.dm.dataset.train_x]
        rng = random.Random(seed)
        split = read_json(str(tmp_path / "pets" / "split_zhou_ToyPets.json"))["train"]
        expected = [n for y in range(3) for n in rng.sample([name for name, label, _ in split if label == y], 2)]
        assert [osp.basename(path) for path in drawn[seed]] == expected
        assert check_isfile(str(tmp_path / "pets" / f"shot_2-seed_{seed}.pkl"))
    assert drawn[0] != drawn[1]


def test_the_few_shot_cache_gives_the_same_items(run_coop_style, tmp_path):
    runs = [run_coop_style(name, "ToyCoOp", "DATASET.NUM_SHOTS", "2") for name in ("first", "second")]
    first, second = ([vars(item) for item in run.dm.dataset.train_x] for run in runs)
    assert first == second


def test_promptsrc_saves_and_deploys_the_mean_model(run_coop_style, tmp_path):
    trained = run_coop_style("run", "ToyPromptSRC", "TRAINER.COOP.PREC", "fp32")
    saved = load_checkpoint(str(tmp_path / "run" / "VLPromptLearner" / "model.pth.tar-4"))["state_dict"]
    assert torch.equal(saved["prompt_learner.ctx"], trained.average["prompt_learner.ctx"])
    assert torch.equal(trained.model.prompt_learner.ctx, trained.average["prompt_learner.ctx"])


def test_zero_shot_registers_nothing_and_is_evaluated(run_coop_style, tmp_path):
    trainer = run_coop_style("zs", "ToyZeroshot", eval_only=True)
    assert trainer.get_model_names() == []
    assert len(_accuracies(tmp_path / "zs" / "log.txt", "=> result")) == 1


def test_init_weights_start_from_another_run(run_coop_style, tmp_path):
    first = run_coop_style("a", "ToyCoOp")
    weights = str(tmp_path / "a" / "prompt_learner" / "model.pth.tar-4")
    options = ("MODEL.INIT_WEIGHTS", weights, "OPTIM.LR", "0.0", "OPTIM.MAX_EPOCH", "1")
    second = run_coop_style("b", "ToyCoOp", *options)
    change = (second.model.prompt_learner.ctx - first.model.prompt_learner.ctx).abs().max()
    assert change < 1e-3


def test_an_interrupted_run_resumes_by_its_output_directory(run_coop_style, tmp_path, monkeypatch):
    options = ("TRAINER.COOP.PREC", "fp32", "TRAIN.CHECKPOINT_FREQ", "1")
    whole = run_coop_style("whole", "ToyCoOp", *options)
    run_epoch = TRAINER_REGISTRY.get("ToyCoOp").run_epoch

    def broken(self):
        if self.epoch == 2:
            raise KeyboardInterrupt
        run_epoch(self)

    monkeypatch.setattr(TRAINER_REGISTRY.get("ToyCoOp"), "run_epoch", broken)
    with pytest.raises(KeyboardInterrupt):
        run_coop_style("broken", "ToyCoOp", *options)
    monkeypatch.undo()
    resumed = run_coop_style("broken", "ToyCoOp", *options)
    assert resumed.start_epoch == 2
    assert torch.equal(resumed.model.prompt_learner.ctx, whole.model.prompt_learner.ctx)
    logs = sorted(p.name for p in (tmp_path / "broken").glob("log.txt*"))
    assert len(logs) == 2
    assert logs[0] == "log.txt"
