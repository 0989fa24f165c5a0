"""What is repaired in an upstream Dassl of 2022, shown on a stand-in of its shape; a current Dassl is left alone."""

import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

import trainers

SOURCE = Path(trainers.__file__).parent / "upstream.py"
MODULES = ("dassl", "dassl.engine", "dassl.engine.trainer", "dassl.optim", "dassl.optim.lr_scheduler", "dassl.utils")
MODULES += ("dassl.utils.torchtools",)


class Warmup(LRScheduler):
    """As upstream's base class: torch is handed an argument that it no longer takes."""

    def __init__(self, optimizer, successor, warmup_epoch, last_epoch=-1, verbose=False):
        self.successor = successor
        super().__init__(optimizer, last_epoch, verbose)

    def step(self, epoch=None):
        after = self.last_epoch >= self.warmup_epoch
        self.successor.step() if after else super().step()
        self._last_lr = self.successor.get_last_lr() if after else self._last_lr


class Logger:
    """As upstream's: closing the log closes the console."""

    def __init__(self, console, file):
        self.console, self.file = console, file

    def close(self):
        self.console.close()
        self.file.close()


class Trainer:
    """As much of upstream's TrainerX as resuming and testing need."""

    def __init__(self, cfg):
        self.cfg, self.output_dir = cfg, cfg.OUTPUT_DIR
        self.best_result, self.epoch, self.max_epoch = -float("inf"), 0, 5

    def get_model_names(self):
        return ["learner", "other"]

    def resume_model_if_exist(self, directory):
        self.resumed = directory
        return 2


def stand_in(monkeypatch, outdated=True):
    """Put a Dassl of upstream's shape in place of the real one; returns its modules by name."""
    made = {name: ModuleType(name) for name in MODULES}
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(made[parent], child, module)

    base = type("_BaseWarmupScheduler", (Warmup,), dict(vars(Warmup)))

    class ConstantWarmupScheduler(base):
        def __init__(self, optimizer, successor, warmup_epoch, cons_lr, last_epoch=-1, verbose=False):
            self.cons_lr = cons_lr
            base.__init__(self, optimizer, successor, warmup_epoch, last_epoch, verbose)

        def get_lr(self):
            done = self.last_epoch >= self.warmup_epoch
            return self.successor.get_last_lr() if done else [self.cons_lr for _ in self.base_lrs]

    class Current(LRScheduler):
        def __init__(self, optimizer, successor, warmup_epoch, cons_lr): ...

    schedules = made["dassl.optim.lr_scheduler"]
    schedules._BaseWarmupScheduler = base
    schedules.ConstantWarmupScheduler = ConstantWarmupScheduler if outdated else Current
    made["dassl.utils"].Logger = type("Logger", (Logger,), dict(vars(Logger)))
    made["dassl.engine"].TrainerX = Trainer
    for name in ("dassl.utils", "dassl.utils.torchtools", "dassl.engine.trainer"):
        made[name].load_checkpoint = torch.load
    return made


def load():
    """Run trainers/upstream.py once more, on whatever Dassl is in place."""
    spec = importlib.util.spec_from_file_location("upstream_again", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def old(monkeypatch):
    """A repaired stand-in."""
    made = stand_in(monkeypatch)
    load()
    return made


def training(old):
    """Optimiser and its schedule: an epoch of 1e-5, then a cosine from 0.1 over four epochs."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
    successor = CosineAnnealingLR(optimizer, 4.0)
    return optimizer, old["dassl.optim.lr_scheduler"].ConstantWarmupScheduler(optimizer, successor, 1, 1e-5)


def rates(optimizer, schedule, epochs):
    """The learning rates of the next epochs; each ends with a step, as in the trainers."""
    passed = []
    for _ in range(epochs):
        passed.append(optimizer.param_groups[0]["lr"])
        optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
        optimizer.step()
        schedule.step()
    return passed


def test_the_stand_in_is_broken_without_the_repair(monkeypatch, tmp_path):
    made = stand_in(monkeypatch)
    with pytest.raises(TypeError):
        training(made)


def test_the_warm_up_works(old):
    expected = [1e-5, 0.1, 0.1 * (2 + 2**0.5) / 4, 0.05]
    assert rates(*training(old), 4) == pytest.approx(expected)


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_resumed_schedule_goes_on_like_an_unbroken_one(old, tmp_path, done):
    whole = rates(*training(old), 4)
    optimizer, schedule = training(old)
    rates(optimizer, schedule, done)
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": schedule.state_dict()}, tmp_path / "model.pth.tar-1")

    checkpoint = old["dassl.utils.torchtools"].load_checkpoint(tmp_path / "model.pth.tar-1")
    optimizer, schedule = training(old)
    optimizer.load_state_dict(checkpoint["optimizer"])
    schedule.load_state_dict(checkpoint["scheduler"])
    assert rates(optimizer, schedule, 4 - done) == pytest.approx(whole[done:], rel=1e-12)


def test_a_checkpoint_with_a_whole_schedule_in_it_is_read_and_resumed(old, tmp_path):
    """As upstream wrote them: the successor as an object, which holds the optimiser."""
    whole = rates(*training(old), 4)
    optimizer, schedule = training(old)
    rates(optimizer, schedule, 2)
    scheduler = {key: value for key, value in vars(schedule).items() if key != "optimizer"}
    state = {"state_dict": {"ctx": torch.ones(2)}, "optimizer": optimizer.state_dict(), "scheduler": scheduler}
    torch.save(state, tmp_path / "old")
    with pytest.raises(Exception, match="CosineAnnealingLR"):
        torch.load(tmp_path / "old", weights_only=True)

    checkpoint = old["dassl.engine.trainer"].load_checkpoint(tmp_path / "old")
    assert torch.equal(checkpoint["state_dict"]["ctx"], torch.ones(2))
    optimizer, schedule = training(old)
    optimizer.load_state_dict(checkpoint["optimizer"])
    schedule.load_state_dict(checkpoint["scheduler"])
    assert rates(optimizer, schedule, 2) == pytest.approx(whole[2:], rel=1e-12)


class Surprise:
    """Would print when unpickled in the ordinary way."""

    def __reduce__(self):
        return print, ("executed",)


def test_a_checkpoint_runs_nothing(old, tmp_path, capsys):
    torch.save({"state_dict": {}, "scheduler": Surprise()}, tmp_path / "bad")
    with pytest.raises(ValueError, match=r"bad.*print"):
        old["dassl.utils"].load_checkpoint(tmp_path / "bad")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"no checkpoint"])
def test_a_damaged_checkpoint_is_named(old, tmp_path, content):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(ValueError, match="bad.* damaged"):
        old["dassl.utils"].load_checkpoint(tmp_path / "bad")


def test_a_file_that_is_no_dictionary_or_is_not_there(old, tmp_path):
    torch.save([1], tmp_path / "list")
    with pytest.raises(ValueError, match="a list, not a dict"):
        old["dassl.utils"].load_checkpoint(tmp_path / "list")
    with pytest.raises(FileNotFoundError):
        old["dassl.utils"].load_checkpoint(tmp_path / "nothing")


def test_the_console_outlives_the_log(old):
    console, file = io.StringIO(), io.StringIO()
    old["dassl.utils"].Logger(console, file).close()
    assert file.closed
    assert not console.closed


def test_torch_itself_is_left_alone(monkeypatch):
    before = dict(vars(LRScheduler)), torch.load, dict(vars(torch.serialization))
    stand_in(monkeypatch)
    load()
    assert (dict(vars(LRScheduler)), torch.load, dict(vars(torch.serialization))) == before


def test_a_current_dassl_is_left_alone(monkeypatch):
    made = stand_in(monkeypatch, outdated=False)
    load()
    assert made["dassl.utils"].load_checkpoint is torch.load
    assert made["dassl.optim.lr_scheduler"]._BaseWarmupScheduler.__init__ is Warmup.__init__


# ---- the trainer that tells its listeners ----


@pytest.fixture
def trainer(monkeypatch, tmp_path):
    """On upstream's Dassl, with a directory of its own."""
    stand_in(monkeypatch)
    return load().UpstreamTrainer(SimpleNamespace(OUTPUT_DIR=str(tmp_path / "run"), RESUME=""))


def save(directory, newest="model.pth.tar-2", names=("learner", "other"), best=None):
    """What upstream's trainer leaves behind."""
    for name in names:
        folder = directory / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoint").write_text(newest + "\n")
        if best is not None:
            torch.save({"state_dict": {}, "epoch": 1, "val_result": best}, folder / "model-best.pth.tar")


def test_a_run_killed_before_its_first_whole_checkpoint_begins_anew(trainer, tmp_path):
    (tmp_path / "run" / "other").mkdir(parents=True)
    assert trainer.resume_model_if_exist(trainer.output_dir) == 0
    save(tmp_path / "run", names=["learner"])
    assert trainer.resume_model_if_exist(trainer.output_dir) == 0
    (tmp_path / "run" / "other" / "checkpoint").write_text("")
    assert trainer.resume_model_if_exist(trainer.output_dir) == 0


def test_what_the_run_saved_takes_precedence_over_where_it_began(trainer, tmp_path):
    start = str(tmp_path / "start")
    with pytest.raises(ValueError, match="start.*holds no checkpoint of learner, other"):
        trainer.resume_model_if_exist(start)
    save(tmp_path / "start")
    assert (trainer.resume_model_if_exist(start), trainer.resumed) == (2, start)
    save(tmp_path / "run")
    assert (trainer.resume_model_if_exist(start), trainer.resumed) == (2, trainer.output_dir)


def test_a_checkpoint_from_inside_an_epoch_is_dassl_cores_alone(trainer, tmp_path):
    """Upstream would take the epoch from its beginning, on weights that had part of it."""
    save(tmp_path / "run", "model.pth.tar-1-batch-3")
    with pytest.raises(ValueError, match=r"tar-1-batch-3.*finish the run with dassl-core"):
        trainer.resume_model_if_exist(trainer.output_dir)


def test_more_epochs_than_the_run_has_are_refused(trainer, tmp_path):
    save(tmp_path / "run")
    trainer.max_epoch = 1
    with pytest.raises(ValueError, match="tar-2 is of epoch 2, but OPTIM.MAX_EPOCH is 1"):
        trainer.resume_model_if_exist(trainer.output_dir)


def test_the_best_result_is_remembered(trainer, tmp_path):
    save(tmp_path / "run", best=70.0)
    trainer.resume_model_if_exist(trainer.output_dir)
    assert trainer.best_result == 70.0


def test_evaluating_draws_no_random_number_of_the_training(trainer):
    """A loader draws a seed for its workers whenever it is gone through."""
    said = []
    trainer.listeners.append(SimpleNamespace(evaluation_ends=lambda trainer, split, results: said.append(split)))
    trainer.cfg.TEST = SimpleNamespace(SPLIT="test")
    items = [{"img": torch.ones(1), "label": torch.tensor(0)}]
    trainer.test_loader = torch.utils.data.DataLoader(items)
    trainer.evaluator = SimpleNamespace(
        reset=lambda: None, process=lambda scores, labels: None, evaluate=lambda: {"accuracy": 50.0}
    )
    trainer.set_model_mode = trainer.write_scalar = lambda *args: None
    trainer.parse_batch_test = lambda batch: (batch["img"], batch["label"])
    trainer.model_inference = lambda images: images
    before = torch.get_rng_state()
    assert (trainer.test(), said) == (50.0, ["test"])
    assert torch.equal(torch.get_rng_state(), before)
