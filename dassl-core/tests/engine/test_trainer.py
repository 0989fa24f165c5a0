"""A toy trainer trains, logs, saves, reloads, evaluates and fails as the contract says."""

import os
import re
from pathlib import Path

import pytest
import torch
from dassl.engine import TRAINER_REGISTRY, SimpleTrainer, TrainerBase, TrainerX, TrainerXU, build_trainer
from dassl.modeling import BACKBONE_REGISTRY
from dassl.utils import load_checkpoint, set_random_seed, setup_logger
from torch import nn
from torch.nn import functional as F

LINE = re.compile(
    r"epoch \[\d/3\] batch \[\d/\d\] time \d+\.\d{3} \(\d+\.\d{3}\) data \d+\.\d{3} \(\d+\.\d{3}\) "
    r"loss \d\.\d{4} \(\d\.\d{4}\) acc \d+\.\d{4} \(\d+\.\d{4}\) lr \d\.\d{4}e-\d\d eta \d:\d\d:\d\d"
)


@pytest.fixture
def trained(cfg):
    """A trainer after its training, with its log."""
    setup_logger(cfg.OUTPUT_DIR)
    set_random_seed(cfg.SEED)
    cfg.OPTIM.LR = 0.05
    trainer = build_trainer(cfg)
    trainer.train()
    return trainer, (Path(cfg.OUTPUT_DIR) / "log.txt").read_text()


def test_the_log_s_lines(trained):
    trainer, log = trained
    lines = log.splitlines()
    assert lines[0] == "Loading trainer: EngineToyTrainer"
    epochs = [line for line in lines if line.startswith("epoch [")]
    assert len(epochs) == 9
    assert all(LINE.fullmatch(line) for line in epochs)
    assert epochs[0].startswith("epoch [1/3] batch [1/3] time ")
    # The last batch of an epoch already shows the next one's learning rate.
    assert [line.split(" lr ")[1].split()[0] for line in epochs] == (
        ["1.0000e-05"] * 2 + ["5.0000e-02"] * 3 + ["3.7500e-02"] * 3 + ["1.2500e-02"]
    )
    end = lines[lines.index("Finish training") :]
    assert end[:4] == ["Finish training", "Deploy the last-epoch model", "Evaluate on the *test* set", "=> result"]
    assert end[4] == "* total: 9"
    assert re.fullmatch(r"\* accuracy: \d+\.\d%", end[6])
    assert re.fullmatch(r"Elapsed: \d+:\d\d:\d\d", end[-1])


def test_it_learns_and_writes_the_usual_tree(trained):
    trainer, _ = trained
    assert trainer.test() > 60
    run = Path(trainer.output_dir)
    assert sorted(p.name for p in run.iterdir()) == ["classifier", "log.txt", "tensorboard"]
    assert sorted(p.name for p in (run / "classifier").iterdir()) == ["checkpoint", "model.pth.tar-3"]
    checkpoint = torch.load(run / "classifier" / "model.pth.tar-3", weights_only=True)
    assert {"state_dict", "epoch", "optimizer", "scheduler", "val_result"} <= set(checkpoint)
    assert (checkpoint["epoch"], checkpoint["val_result"]) == (3, None)


def test_a_new_trainer_reloads_what_was_trained(trained, cfg):
    trainer, _ = trained
    accuracy = trainer.test()
    cfg.OUTPUT_DIR += "_eval"
    new = build_trainer(cfg)
    assert not torch.equal(new.model.layer.weight, trainer.model.layer.weight)
    new.load_model(trainer.output_dir, epoch=3)
    assert torch.equal(new.model.layer.weight, trainer.model.layer.weight)
    assert new.test() == accuracy


def test_print_freq_and_tensorboard(cfg):
    cfg.TRAIN.PRINT_FREQ = 2
    cfg.OPTIM.MAX_EPOCH = 2
    setup_logger(cfg.OUTPUT_DIR)
    trainer = build_trainer(cfg)
    trainer.train()
    log = (Path(cfg.OUTPUT_DIR) / "log.txt").read_text()
    assert re.findall(r"^epoch \[(\d)/2\] batch \[(\d)/3\]", log, re.M) == [("1", "2"), ("2", "2")]
    assert trainer._writer is None
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(os.path.join(cfg.OUTPUT_DIR, "tensorboard")).Reload()
    assert {"train/loss", "train/acc", "train/lr", "test/accuracy", "test/macro_f1"} <= set(events.Tags()["scalars"])
    assert [e.step for e in events.Scalars("train/lr")] == list(range(6))
    assert [e.step for e in events.Scalars("test/accuracy")] == [1]


def test_checkpoint_freq(cfg):
    cfg.TRAIN.CHECKPOINT_FREQ = 2
    cfg.OPTIM.MAX_EPOCH = 5
    build_trainer(cfg).train()
    names = sorted(os.listdir(Path(cfg.OUTPUT_DIR) / "classifier"))
    assert names == ["checkpoint", "model.pth.tar-2", "model.pth.tar-4", "model.pth.tar-5"]


def test_the_best_model_on_val_is_kept_and_deployed(cfg, monkeypatch, capsys):
    cfg.TEST.FINAL_MODEL = "best_val"
    trainer = build_trainer(cfg)
    results = iter([50.0, 70.0, 60.0])
    weights = []
    evaluate = trainer.test

    def test(split=None):
        if split == "val":
            weights.append(trainer.model.layer.weight.clone())
            return next(results)
        return evaluate(split)

    monkeypatch.setattr(trainer, "test", test)
    trainer.train()
    out = capsys.readouterr().out
    assert "Deploy the model with the best val performance" in out
    best = load_checkpoint(os.path.join(cfg.OUTPUT_DIR, "classifier", "model-best.pth.tar"))
    assert (best["epoch"], best["val_result"]) == (2, 70.0)
    assert torch.equal(best["state_dict"]["layer.weight"], weights[1])
    assert torch.equal(trainer.model.layer.weight, weights[1])
    assert f'Loading weights to classifier from "{cfg.OUTPUT_DIR}/classifier/model-best.pth.tar" (epoch = 2)' in out


def test_no_test(cfg, capsys):
    cfg.TEST.NO_TEST = True
    build_trainer(cfg).train()
    out = capsys.readouterr().out
    assert "Finish training" in out
    assert "Evaluate" not in out


def test_test_on_val_and_without_val(cfg, capsys):
    trainer = build_trainer(cfg)
    cfg.TEST.SPLIT = "val"
    trainer.test()
    assert "Evaluate on the *val* set\n=> result\n* total: 6\n" in capsys.readouterr().out
    trainer.val_loader = None
    with pytest.raises(ValueError, match="EngineToy has no val split"):
        trainer.test()
    with pytest.raises(KeyError, match='did you mean "test"'):
        trainer.test("tset")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_it_does_harm(cfg, monkeypatch, bad):
    trainer = build_trainer(cfg)
    before = trainer.model.layer.weight.clone()
    monkeypatch.setattr(F, "cross_entropy", lambda output, label: output.sum() * bad)
    with pytest.raises(FloatingPointError, match="Loss is infinite or NaN!"):
        trainer.train()
    assert torch.equal(trainer.model.layer.weight, before)
    assert trainer._writer is None
    assert not os.path.exists(os.path.join(cfg.OUTPUT_DIR, "classifier"))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["weights", "one score"])
def test_scores_that_are_not_finite_get_no_accuracy(cfg, monkeypatch, capsys, bad, where):
    trainer = build_trainer(cfg)
    image = trainer.dm.dataset.test[0 if where == "weights" else 6].impath
    if where == "weights":
        trainer.model.layer.weight.data[0, 0] = bad
    else:
        infer = trainer.model_inference

        def inference(images):
            scores = infer(images)
            if len(images) == 4:  # the second batch
                scores[1, 2] = bad
            return scores

        monkeypatch.setattr(trainer, "model_inference", inference)
    with pytest.raises(FloatingPointError, match=f'The scores of "{image}" are NaN or infinite: the weights or'):
        trainer.test()
    assert "accuracy" not in capsys.readouterr().out


def test_tensorboard_is_closed_whatever_happens(cfg, monkeypatch):
    trainer = build_trainer(cfg)
    closed = []

    def interrupted(batch):
        close = trainer._writer.close
        trainer._writer.close = lambda: (closed.append(True), close())
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "forward_backward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert closed == [True]


def test_loading_is_strict_and_says_what_there_is(trained, cfg):
    trainer, _ = trained
    run = trainer.output_dir
    with pytest.raises(FileNotFoundError, match="that folder holds model.pth.tar-3"):
        trainer.load_model(run, epoch=2)
    with pytest.raises(FileNotFoundError, match="model-best.pth.tar.*that folder holds model.pth.tar-3"):
        trainer.load_model(run)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        trainer.load_model(run + "x", epoch=3)
    with pytest.raises(FileNotFoundError, match='holds no folder "classifier"'):
        trainer.load_model(os.path.dirname(run), epoch=3)
    trainer._models["classifier"] = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="model.pth.tar-3.* do not belong to this model"):
        trainer.load_model(run, epoch=3)


def test_load_model_without_a_folder_is_skipped(cfg, capsys):
    build_trainer(cfg).load_model("")
    assert "load_model() is skipped" in capsys.readouterr().out


def test_unknown_names_get_the_nearest(cfg):
    cfg.TRAINER.NAME = "enginetoytrainr"
    with pytest.raises(KeyError) as caught:
        build_trainer(cfg)
    assert str(caught.value) == 'Unknown trainer "enginetoytrainr"; did you mean "EngineToyTrainer"?'


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("TEST.FINAL_MODEL", "best_vol", 'did you mean "best_val"'),
        ("TRAIN.PRINT_FREQ", 0, "PRINT_FREQ must be at least 1"),
    ],
)
def test_wrong_settings_are_refused_before_any_data_is_read(cfg, key, value, hint):
    cfg.merge_from_list([key, value, "DATASET.NAME", "Nothing"])
    with pytest.raises(ValueError) as caught:
        build_trainer(cfg)
    assert hint in str(caught.value)


class TestRegisteredModels:
    def make(self):
        base = TrainerBase()
        self.models = {name: nn.Linear(1, 1) for name in ("a", "b")}
        for lr, (name, model) in enumerate(self.models.items(), start=1):
            optim = torch.optim.SGD(model.parameters(), lr=float(lr))
            base.register_model(name, model, optim, torch.optim.lr_scheduler.StepLR(optim, 1))
        return base

    def test_names_modes_and_rates(self):
        base = self.make()
        assert base.get_model_names() == ["a", "b"]
        assert base.get_model_names("b") == ["b"]
        base.set_model_mode("eval", "b")
        assert (self.models["a"].training, self.models["b"].training) == (True, False)
        base.set_model_mode("train")
        assert self.models["b"].training
        assert (base.get_current_lr(), base.get_current_lr("b")) == (1.0, 2.0)
        base._optims["b"].step()
        base.update_lr("b")
        assert (base.get_current_lr("a"), base.get_current_lr("b")) == (1.0, pytest.approx(0.2))

    def test_one_step_of_one_model(self):
        base = self.make()
        before = {name: model.weight.item() for name, model in self.models.items()}
        base.model_backward_and_update(sum(m(torch.ones(1, 1)).sum() for m in self.models.values()), names="a")
        assert self.models["a"].weight.item() == pytest.approx(before["a"] - 1.0)
        assert self.models["b"].weight.item() == before["b"]

    def test_mistakes(self):
        base = self.make()
        with pytest.raises(ValueError, match="already registered"):
            base.register_model("a")
        with pytest.raises(KeyError, match="known are: a, b"):
            base.get_model_names("zzz")
        with pytest.raises(KeyError, match='did you mean "eval"'):
            base.set_model_mode("evil")
        with pytest.raises(AttributeError, match="super"):
            TrainerBase.__new__(TrainerBase).register_model("a")

    def test_prograd_leaves_out_what_works_against_the_general_direction(self):
        base = TrainerBase()
        model = nn.Linear(2, 1, bias=False)
        nn.init.zeros_(model.weight)
        base.register_model("m", model, torch.optim.SGD(model.parameters(), lr=1.0))
        weight = model.weight[0]
        # Gradients (1, -1) and (0, 2): they conflict in the second coordinate only.
        base.prograd_backward_and_update(weight[0] - weight[1], 2 * weight[1], 1.0)
        assert model.weight.tolist() == [[-1.0, 0.0]]
        weight = model.weight[0]
        # Now they agree, and the first is followed as it is.
        base.prograd_backward_and_update(weight[0] + weight[1], 2 * weight[1], 1.0)
        assert model.weight.tolist() == [[-2.0, -1.0]]


@TRAINER_REGISTRY.register(force=True)
class EngineToyXU(TrainerXU):
    """Records which batches come together."""

    build_model = TRAINER_REGISTRY.get("EngineToyTrainer").build_model

    def forward_backward(self, batch_x, batch_u):
        image, label, image_u = self.parse_batch_train(batch_x, batch_u)
        assert len(image) == len(label) == len(image_u) == 4
        self.history.append((batch_x["index"].tolist(), batch_u["index"].tolist()))
        return {"loss": 1.0}


@pytest.mark.parametrize(("count", "steps"), [("train_x", 3), ("train_u", 1), ("smaller_one", 1)])
def test_two_streams(cfg, count, steps):
    cfg.TRAINER.NAME, cfg.TRAIN.COUNT_ITER, cfg.DATASET.ALL_AS_UNLABELED = "EngineToyXU", count, True
    cfg.OPTIM.MAX_EPOCH, cfg.TEST.NO_TEST = 1, True
    trainer = build_trainer(cfg)
    trainer.train()
    assert trainer.num_batches == len(trainer.history) == steps


def test_two_streams_need_unlabelled_data(cfg):
    cfg.TRAINER.NAME = "EngineToyXU"
    with pytest.raises(ValueError, match="no unlabelled set"):
        build_trainer(cfg).train()


@BACKBONE_REGISTRY.register(force=True)
def engine_tiny(pretrained=True, **kwargs):
    """One convolution."""
    backbone = nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten())
    backbone.out_features = 4
    return backbone


def test_the_default_model_of_a_simple_trainer(cfg):
    cfg.MODEL.BACKBONE.NAME = "engine_tiny"
    trainer = SimpleTrainer(cfg)
    assert trainer.get_model_names() == ["model"]
    assert 0 <= trainer.test() <= 100
    assert issubclass(TrainerX, SimpleTrainer)
