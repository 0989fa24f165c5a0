"""train.py around a small stand-in for a method: records, finished and broken runs, every sentence for bad input."""

import io
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer
from PIL import Image
from torch import nn
from torch.nn import functional
from yacs.config import CfgNode

import train
from runs.command_line import build_parser
from runs.config import build_config
from runs.record import differences

REPOSITORY = Path(train.__file__).parent


class Shades(DatasetBase):
    """Two classes that one look tells apart: dark and bright squares."""

    def __init__(self, cfg):
        folder = Path(cfg.DATASET.ROOT)
        items = [
            Datum(str(folder / f"{number}.png"), label, classname=("dark", "bright")[label])
            for number, label in enumerate([0, 1] * 4)
        ]
        super().__init__(train_x=items, val=items[:2], test=items[:6])


class Linear(TrainerX):
    """Logistic regression on pixels; `interrupt` breaks it off in that epoch (counted from 0)."""

    interrupt: int | None = None
    epochs_run: list[int] = []

    @classmethod
    def extend_cfg(cls, cfg):
        cfg.TRAINER.LINEAR = CfgNode({"SCALE": 1.0})

    def build_model(self):
        self.model = nn.Linear(3 * 8 * 8, self.num_classes).to(self.device)
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("linear", self.model, self.optim, self.sched)

    def model_inference(self, images):
        return self.model(images.flatten(1))

    def parse_batch_train(self, batch):
        return batch["img"].to(self.device), batch["label"].to(self.device)

    def forward_backward(self, batch):
        if self.interrupt == self.epoch:
            raise KeyboardInterrupt
        self.epochs_run.append(self.epoch)
        images, labels = self.parse_batch_train(batch)
        loss = functional.cross_entropy(self.model_inference(images), labels)
        self.model_backward_and_update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}


class Nothing(Linear):
    """A method that learns nothing, as zero-shot CLIP."""

    def build_model(self):
        self.model = nn.Linear(3 * 8 * 8, self.num_classes)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """The command line of a small training run, with its yaml files; its output directory is tmp_path/out."""
    for registry, item in [(DATASET_REGISTRY, Shades), (TRAINER_REGISTRY, Linear), (TRAINER_REGISTRY, Nothing)]:
        monkeypatch.setitem(registry._obj_map, item.__name__, item)
    monkeypatch.setattr(Linear, "epochs_run", [])
    data = tmp_path / "data"
    data.mkdir()
    for number, label in enumerate([0, 1] * 4):
        Image.new("RGB", (8, 8), (40 + 160 * label + number,) * 3).save(data / f"{number}.png")
    (tmp_path / "shades.yaml").write_text("DATASET:\n  NAME: Shades\n")
    method = {
        "INPUT": {"SIZE": [8, 8]},
        "DATALOADER": {"NUM_WORKERS": 0, "TRAIN_X": {"BATCH_SIZE": 4}},
        "OPTIM": {"NAME": "sgd", "LR": 0.1, "MAX_EPOCH": 3, "LR_SCHEDULER": "cosine"},
        "TRAIN": {"CHECKPOINT_FREQ": 1},
    }
    (tmp_path / "linear.yaml").write_text(yaml.safe_dump(method))
    return [
        *("--root", str(data), "--seed", "1", "--trainer", "Linear"),
        *("--dataset-config-file", str(tmp_path / "shades.yaml"), "--config-file", str(tmp_path / "linear.yaml")),
        *("--output-dir", str(tmp_path / "out")),
    ]


def put(command, flag, value):
    """The command with another value after `flag`."""
    changed = list(command)
    changed[changed.index(flag) + 1] = str(value)
    return changed


def run(capsys, argv):
    code = train.main(argv)
    streams = capsys.readouterr()
    return code, streams.out, streams.err


def record(directory):
    return json.loads((directory / "metrics.json").read_text())


def refused(capsys, argv):
    """The one sentence with which train.py turns down `argv`."""
    code, _, err = run(capsys, argv)
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err
    return err


# ---- a run and its record ----


def test_a_training_run_leaves_its_record(tmp_path, command, capsys):
    code, out, err = run(capsys, command)
    assert code == 0, err
    assert "** Arguments **" in out and "** Config **" in out and "Setting fixed seed: 1" in out
    assert "Finish training" in (tmp_path / "out/log.txt").read_text()
    found = record(tmp_path / "out")
    assert found["accuracy"] == pytest.approx(100 * found["correct"] / found["total"]) and found["total"] == 6
    expected = {"complete": True, "mode": "train", "trainer": "Linear", "dataset": "Shades", "shots": -1, "seed": 1}
    expected |= {"subsample_classes": "all", "epoch": 3, "checkpoint": None}
    assert {key: found[key] for key in expected} == expected
    assert 0 < found["macro_f1"] <= 100 and found["wall_seconds"] > 0
    stored = yaml.safe_load((tmp_path / "out/config.yaml").read_text())
    assert stored["OPTIM"]["MAX_EPOCH"] == 3 and stored["TRAINER"]["LINEAR"] == {"SCALE": 1.0}


def test_standard_output_is_given_back(command, capsys):
    before = sys.stdout
    train.main(command)
    assert sys.stdout is before


def test_a_finished_run_is_not_repeated(tmp_path, command, capsys):
    train.main(command)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    capsys.readouterr()
    code, out, _ = run(capsys, command)
    assert code == 0 and out.startswith("Finished before, not repeated: accuracy ") and out.count("\n") == 1
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}


def test_the_last_test_counts_not_the_validation(tmp_path, command, capsys):
    code, _, err = run(capsys, [*command, "TEST.FINAL_MODEL", "best_val"])
    assert code == 0, err
    assert record(tmp_path / "out")["total"] == 6  # val has 2


def test_a_run_without_a_test_has_no_accuracy(tmp_path, command, capsys):
    code, _, err = run(capsys, [*command, "TEST.NO_TEST", "True"])
    assert code == 0, err
    assert record(tmp_path / "out")["accuracy"] is None and record(tmp_path / "out")["complete"]
    assert "no test" in run(capsys, [*command, "TEST.NO_TEST", "True"])[1]


@pytest.mark.parametrize("seed", [0, 7])
def test_equal_seeds_train_equal_models(tmp_path, command, seed):
    """Zero is a seed as well."""
    states = []
    for name in ("one", "two"):
        directory = tmp_path / name
        assert train.main(put(put(command, "--seed", seed), "--output-dir", directory)) == 0
        assert record(directory)["seed"] == seed
        states.append(torch.load(directory / "linear/model.pth.tar-3", weights_only=True)["state_dict"])
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_no_train_builds_and_leaves_the_run_open(tmp_path, command, capsys):
    assert run(capsys, [*command, "--no-train"])[0] == 0
    assert record(tmp_path / "out")["complete"] is False and not Linear.epochs_run


def test_an_output_directory_may_be_called_like_a_log(tmp_path, command):
    assert train.main(put(command, "--output-dir", tmp_path / "run.log")) == 0
    assert "Finish training" in (tmp_path / "run.log/log.txt").read_text()
    assert record(tmp_path / "run.log")["complete"]


def test_a_quoted_tilde_is_the_home_directory(tmp_path, command, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    argv = put(put(command, "--output-dir", "~/out"), "--root", "~/data")
    assert train.main([*put(argv, "--config-file", "~/linear.yaml"), "OPTIM.MAX_EPOCH", "1"]) == 0
    evaluation = [*put(argv, "--output-dir", "~/eval"), "--eval-only", "--model-dir", "~/out", "--load-epoch", "1"]
    assert train.main(evaluation) == 0
    assert record(tmp_path / "out")["complete"] and record(tmp_path / "eval")["complete"]
    assert not (tmp_path / "~").exists()


# ---- standard streams that fail ----


class Unread(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


def ascii_stream():
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


@pytest.mark.parametrize("stream", [Unread, ascii_stream, lambda: None])
def test_streams_that_fail_stop_no_run(tmp_path, command, monkeypatch, stream):
    """Their reader has left (| head -1), they cannot show a letter, or they were closed (>&-)."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, stream())
    directory = tmp_path / "für mich"
    assert train.main(put(command, "--output-dir", directory)) == 0
    assert record(directory)["complete"] and "Finish training" in (directory / "log.txt").read_text()
    assert train.main(put(command, "--output-dir", directory)) == 0
    assert train.main(put(command, "--trainer", "für mich")) == 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.flush()
        assert rb"(" + str(directory).encode("ascii", "backslashreplace") in sys.stdout.buffer.getvalue()


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "| head -1"])
def test_a_shell_that_takes_the_streams_away(redirection):
    shell = f'set -o pipefail; "{sys.executable}" train.py --help {redirection}'
    done = subprocess.run(["bash", "-c", shell], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_line_wins_over_the_yaml_and_pairs_over_both(tmp_path, command):
    train.main(["--transforms", "normalize", *command, "SEED", "5", "OPTIM.MAX_EPOCH", "1"])
    stored = yaml.safe_load((tmp_path / "out/config.yaml").read_text())
    assert (stored["SEED"], stored["OPTIM"]["MAX_EPOCH"], stored["INPUT"]["TRANSFORMS"]) == (5, 1, ["normalize"])


# ---- broken runs ----


def test_ctrl_c_says_one_line_and_the_same_command_resumes(tmp_path, command, capsys, monkeypatch):
    monkeypatch.setattr(Linear, "interrupt", 2)
    code, _, err = run(capsys, command)
    assert code == 75
    assert err.strip().count("\n") == 0 and "model.pth.tar-2" in err
    assert record(tmp_path / "out")["complete"] is False

    monkeypatch.setattr(Linear, "interrupt", None)
    Linear.epochs_run.clear()
    code, _, err = run(capsys, command)
    assert code == 0, err
    assert set(Linear.epochs_run) == {2}
    assert record(tmp_path / "out")["complete"] is True


def test_ctrl_c_before_the_first_checkpoint(command, capsys, monkeypatch):
    monkeypatch.setattr(Linear, "interrupt", 0)
    code, _, err = run(capsys, command)
    assert code == 75 and "from its beginning" in err


def test_an_error_on_the_way_is_told_and_kept_in_the_log(tmp_path, command, capsys, monkeypatch):
    monkeypatch.setattr(functional, "cross_entropy", lambda scores, labels: scores.sum() * math.nan)
    code, _, err = run(capsys, command)
    assert code == 1 and err.startswith("error: FloatingPointError: Loss is infinite or NaN!")
    assert "Traceback (most recent call last)" in (tmp_path / "out/log.txt").read_text()
    monkeypatch.undo()


def test_a_directory_is_free_again_after_a_setup_error(tmp_path, command, capsys):
    assert "Cubistic" in refused(capsys, [*command, "INPUT.INTERPOLATION", "Cubistic"])
    assert "Traceback" in (tmp_path / "out/log.txt").read_text()
    code, _, err = run(capsys, command)
    assert code == 0, err


def test_resuming_from_elsewhere_is_not_ignored(tmp_path, command, capsys, monkeypatch):
    assert train.main([*put(command, "--output-dir", tmp_path / "begun"), "OPTIM.MAX_EPOCH", "1"]) == 0
    resumed = [*command, "RESUME", str(tmp_path / "begun")]
    monkeypatch.setattr(Linear, "interrupt", 2)
    assert run(capsys, resumed)[0] == 75
    monkeypatch.setattr(Linear, "interrupt", None)
    shutil.copytree(tmp_path / "begun", tmp_path / "third")
    elsewhere = [*command, "RESUME", str(tmp_path / "third")]
    assert f"was resumed from {tmp_path}/begun, so that RESUME" in refused(capsys, elsewhere)
    assert run(capsys, command)[0] == 0  # the run's own checkpoints go first
    assert "Finished before" in run(capsys, resumed)[1]
    assert "would be ignored" in refused(capsys, elsewhere)
    fresh = put(command, "--output-dir", tmp_path / "fresh")
    assert train.main(fresh) == 0
    assert "began anew" in refused(capsys, [*fresh, "RESUME", str(tmp_path / "begun")])
    assert "Finished before" in run(capsys, [*fresh, "RESUME", str(tmp_path / "fresh")])[1]


def test_no_record_of_a_model_that_is_broken(tmp_path, command, capsys, monkeypatch):
    """NaN in every score would still have an accuracy: the first class is right where it is the true one."""
    inference = Linear.model_inference

    def broken(self, images):
        return inference(self, images) * (1 if self.model.training else math.nan)

    monkeypatch.setattr(Linear, "model_inference", broken)
    code, _, err = run(capsys, command)
    assert code == 1 and "FloatingPointError" in err and "0.png" in err
    assert record(tmp_path / "out")["complete"] is False and "accuracy" not in record(tmp_path / "out")


# ---- evaluation ----


@pytest.fixture
def trained(tmp_path, command, capsys):
    """The command that evaluates a finished training."""
    assert train.main(command) == 0
    capsys.readouterr()
    evaluation = put(command, "--output-dir", tmp_path / "eval")
    return [*evaluation, "--eval-only", "--model-dir", str(tmp_path / "out"), "--load-epoch", "3"]


def test_an_evaluation_equals_the_test_after_training(tmp_path, trained, capsys):
    code, out, err = run(capsys, trained)
    assert code == 0, err
    assert "Finish training" not in out and not (tmp_path / "eval/linear").exists()
    after_training, evaluated = record(tmp_path / "out"), record(tmp_path / "eval")
    for key in ("accuracy", "total", "correct", "macro_f1", "experiment", "epoch"):
        assert evaluated[key] == after_training[key], key
    assert evaluated["mode"] == "eval" and re.fullmatch("[0-9a-f]{64}", evaluated["checkpoint"]["sha256"]["linear"])


def test_an_evaluation_is_repeated_only_for_a_new_checkpoint(tmp_path, trained, command, capsys):
    train.main(trained)
    assert "Finished before" in run(capsys, trained)[1]
    train.main(put(put(command, "--output-dir", tmp_path / "other"), "--seed", 2))
    (tmp_path / "other/linear/model.pth.tar-3").replace(tmp_path / "out/linear/model.pth.tar-3")
    code, out, err = run(capsys, trained)
    assert code == 0 and "=> result" in out, err


def test_what_learns_nothing_is_evaluated_without_a_checkpoint(tmp_path, command, capsys):
    code, _, err = run(capsys, [*put(command, "--trainer", "Nothing"), "--eval-only"])
    assert code == 0, err
    assert record(tmp_path / "out")["complete"] and record(tmp_path / "out")["epoch"] is None


def test_an_evaluation_without_model_dir(command, capsys):
    assert "needs --model-dir" in refused(capsys, [*command, "--eval-only"])
    assert train.main(command) == 0  # the directory was left free


def test_an_evaluation_of_an_epoch_that_is_not_there(trained, capsys):
    err = refused(capsys, put(trained, "--load-epoch", 9))
    assert "model.pth.tar-9" in err and "linear/model.pth.tar-3" in err


def test_an_evaluation_of_a_directory_that_holds_something_else(tmp_path, trained, capsys):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").touch()
    err = refused(capsys, put(trained, "--model-dir", tmp_path / "other"))
    assert str(tmp_path / "other") in err and "notes.txt" in err
    assert "does not exist" in refused(capsys, put(trained, "--model-dir", tmp_path / "no"))


def test_load_epoch_without_model_dir(command, capsys):
    assert "--load-epoch needs --model-dir" in refused(capsys, [*command, "--eval-only", "--load-epoch", "3"])


def test_a_training_directory_is_not_evaluated_into(tmp_path, trained, capsys):
    assert "belongs to a training run" in refused(capsys, put(trained, "--output-dir", tmp_path / "out"))


def test_an_evaluation_of_another_epoch_needs_its_own_directory(trained, capsys):
    train.main(trained)
    assert "--load-epoch 3 -> 2" in refused(capsys, put(trained, "--load-epoch", 2))


def test_an_evaluation_belongs_to_the_run_that_trained_its_checkpoint(tmp_path, command, trained, capsys):
    """Whatever only concerns the training need not be repeated, and differs from nothing if it is not."""
    by_hand = [*put(trained, "--seed", -1), "OPTIM.MAX_EPOCH", "7", "OPTIM.LR", "0.5", "DATASET.NUM_SHOTS", "4"]
    assert train.main(by_hand) == 0
    training, evaluation = record(tmp_path / "out"), record(tmp_path / "eval")
    for key in ("experiment", "seed", "shots", "epoch"):
        assert training[key] == evaluation[key], key
    assert evaluation["config"]["OPTIM"]["MAX_EPOCH"] == 7
    assert "Finished before" in run(capsys, [*put(trained, "--seed", -1), "OPTIM.MAX_EPOCH", "9"])[1]
    other = put(by_hand, "--output-dir", tmp_path / "other")
    assert train.main([*other, "INPUT.INTERPOLATION", "bicubic"]) == 0
    assert record(tmp_path / "other")["experiment"] != training["experiment"]
    (tmp_path / "out/config.yaml").unlink()  # as beside a published checkpoint
    assert train.main(put(by_hand, "--output-dir", tmp_path / "alone")) == 0
    found = record(tmp_path / "alone")
    assert (found["seed"], found["shots"]) == (-1, 4) and found["experiment"] != training["experiment"]


@pytest.fixture
def without_val(monkeypatch):
    class WithoutVal(Shades):
        def __init__(self, cfg):
            super().__init__(cfg)
            self._val = None

    monkeypatch.setitem(DATASET_REGISTRY._obj_map, "Shades", WithoutVal)


@pytest.mark.parametrize(("key", "value"), [("TEST.SPLIT", "val"), ("TEST.FINAL_MODEL", "best_val")])
def test_a_validation_set_that_is_not_there(tmp_path, command, capsys, without_val, key, value):
    assert "has no validation images; set TEST.SPLIT test" in refused(capsys, [*command, key, value])
    assert not Linear.epochs_run
    assert run(capsys, command)[0] == 0  # the directory was left free
    evaluation = put(command, "--output-dir", tmp_path / "eval")
    evaluation += ["--eval-only", "--model-dir", str(tmp_path / "out"), "--load-epoch", "3"]
    if key == "TEST.SPLIT":
        assert "no validation images" in refused(capsys, [*evaluation, key, value])


def test_a_split_that_there_is_not(tmp_path, command, capsys):
    assert "did you mean 'test'?" in refused(capsys, [*command, "TEST.SPLIT", "tset"])
    assert not (tmp_path / "out").exists()


def test_what_only_concerns_the_evaluation_locks_no_unfinished_training(tmp_path, command, capsys, monkeypatch):
    monkeypatch.setattr(Linear, "interrupt", 2)
    assert run(capsys, [*command, "TEST.SPLIT", "val"])[0] == 75
    assert "TEST.FINAL_MODEL: 'last_step' -> 'best_val'" in refused(
        capsys, [*command, "TEST.FINAL_MODEL", "best_val"]
    )  # two epochs were not asked for their best
    monkeypatch.setattr(Linear, "interrupt", None)
    Linear.epochs_run.clear()
    code, _, err = run(capsys, command)
    assert code == 0 and set(Linear.epochs_run) == {2}, err
    assert record(tmp_path / "out")["total"] == 6  # val has 2
    assert yaml.safe_load((tmp_path / "out/config.yaml").read_text())["TEST"]["SPLIT"] == "test"
    assert "TEST.SPLIT: 'test' -> 'val'" in refused(capsys, [*command, "TEST.SPLIT", "val"])  # it has a result now


# ---- bad input, one sentence each ----


def test_an_unknown_trainer(tmp_path, command, capsys):
    assert "did you mean 'Linear'?" in refused(capsys, put(command, "--trainer", "Linaer"))
    assert not (tmp_path / "out").exists()


def test_no_trainer(command, capsys):
    assert "Linear" in refused(capsys, put(command, "--trainer", ""))


def test_an_unknown_data_set(command, capsys):
    assert "did you mean 'Shades'?" in refused(capsys, [*command, "DATASET.NAME", "shade"])


def test_an_unknown_backbone_of_our_own_methods(command, capsys, monkeypatch):
    monkeypatch.setattr(Linear, "__module__", "trainers.linear")
    assert "did you mean 'ViT-B/16'?" in refused(capsys, [*command, "--backbone", "vit-b/16x"])


def test_an_unknown_class_subset(command, capsys):
    assert "did you mean 'base'?" in refused(capsys, [*command, "DATASET.SUBSAMPLE_CLASSES", "bas"])


@pytest.mark.parametrize("flag", ["--config-file", "--dataset-config-file"])
def test_a_missing_configuration_file(tmp_path, command, capsys, flag):
    err = refused(capsys, put(command, flag, tmp_path / "linaer.yaml"))
    assert "linaer.yaml" in err and "did you mean linear.yaml?" in err
    assert "no directory" in refused(capsys, put(command, flag, tmp_path / "no/linear.yaml"))


def test_a_configuration_file_that_is_no_yaml(tmp_path, command, capsys):
    (tmp_path / "linear.yaml").write_text("OPTIM: [0.1")
    assert "linear.yaml is not a yaml file" in refused(capsys, command)
    (tmp_path / "linear.yaml").write_text("just text")
    assert "linear.yaml must hold sections" in refused(capsys, command)


def test_a_configuration_file_runs_no_code(tmp_path, command, capsys):
    (tmp_path / "linear.yaml").write_text(f"OPTIM: !!python/object/apply:os.mkdir ['{tmp_path}/made']")
    assert "is not a yaml file" in refused(capsys, command)
    assert not (tmp_path / "made").exists()


def test_a_configuration_file_on_top_of_another(tmp_path, command, capsys):
    (tmp_path / "further").mkdir()
    child = tmp_path / "further/child.yaml"
    child.write_text("BASE: ../linear.yaml\nOPTIM:\n  LR: 0.5\n")
    assert train.main(put(command, "--config-file", child)) == 0
    stored = yaml.safe_load((tmp_path / "out/config.yaml").read_text())["OPTIM"]
    assert (stored["LR"], stored["MAX_EPOCH"]) == (0.5, 3)
    (tmp_path / "linear.yaml").write_text("BASE: further/../further/child.yaml\n")
    assert "does not lead back" in refused(capsys, put(command, "--config-file", child))
    child.write_text("BASE: ../liner.yaml\n")
    assert "did you mean linear.yaml?" in refused(capsys, put(command, "--config-file", child))


def test_an_unknown_key_in_a_file_or_a_pair(tmp_path, command, capsys):
    assert "did you mean OPTIM.MAX_EPOCH?" in refused(capsys, [*command, "OPTIM.MAX_EPOCHS", "3"])
    assert "did you mean TRAINER.LINEAR.SCALE?" in refused(capsys, [*command, "TRAINER.LINEAR.SCAEL", "3"])
    (tmp_path / "linear.yaml").write_text("OPTIM:\n  LRR: 0.1\n")
    err = refused(capsys, command)
    assert "linear.yaml" in err and "did you mean OPTIM.LR?" in err


def test_a_value_of_the_wrong_type(tmp_path, command, capsys):
    assert "OPTIM.LR in the command line must be of type float" in refused(capsys, [*command, "OPTIM.LR", "high"])
    (tmp_path / "linear.yaml").write_text("OPTIM:\n  MAX_EPOCH: ten\n")
    err = refused(capsys, command)
    assert "OPTIM.MAX_EPOCH" in err and "linear.yaml must be of type int" in err


def test_a_section_is_no_value(command, capsys):
    assert "OPTIM in the command line is a section" in refused(capsys, [*command, "OPTIM", "3"])


def test_a_key_without_a_value(command, capsys):
    assert "'OPTIM.LR' stands alone" in refused(capsys, [*command, "OPTIM.LR"])


def test_an_option_after_the_pairs(command, capsys):
    assert "--eval-only" in refused(capsys, [*command, "SEED", "3", "--eval-only", "x"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--sede", "3"], "did you mean --seed?"), (["--seed", "three"], "invalid int value: 'three'")],
)
def test_an_unknown_option_or_a_value_it_cannot_take(capsys, arguments, words):
    with pytest.raises(SystemExit) as ended:
        train.main(arguments)
    err = capsys.readouterr().err
    assert ended.value.code == 2 and err.startswith("error: ") and err.count("\n") == 1 and words in err


def test_a_missing_data_root(tmp_path, command, capsys):
    err = refused(capsys, put(command, "--root", tmp_path / "no"))
    assert "There is no data root" in err and "oxford_pets/images" in err and "EmojiNet" in err
    assert not (tmp_path / "out").exists()


def test_a_directory_of_another_configuration(tmp_path, command, capsys):
    train.main(command)
    err = refused(capsys, [*put(command, "--seed", 2), "OPTIM.LR", "0.5"])
    assert "OPTIM.LR: 0.1 -> 0.5" in err and "SEED: 1 -> 2" in err and "another --output-dir" in err
    assert record(tmp_path / "out")["seed"] == 1


def test_what_changes_no_result_is_no_other_configuration(tmp_path, command, capsys):
    train.main(command)
    moved = tmp_path / "moved"
    (tmp_path / "out").rename(moved)
    again = [
        *put(command, "--output-dir", moved),
        "TRAIN.PRINT_FREQ",
        "1",
        "TRAINER.NAME",
        "Linear",
        "VERBOSE",
        "False",
    ]
    assert "Finished before" in run(capsys, again)[1]


def test_a_method_registered_later_leaves_earlier_runs_valid(command, capsys, monkeypatch):
    train.main(command)

    class Later(Linear):
        @classmethod
        def extend_cfg(cls, cfg):
            cfg.TRAINER.LATER = CfgNode({"DEPTH": 9})

    monkeypatch.setitem(TRAINER_REGISTRY._obj_map, "Later", Later)
    assert "Finished before" in run(capsys, command)[1]


def test_an_option_added_later_leaves_earlier_runs_valid(tmp_path, command, capsys, monkeypatch):
    train.main(command)
    experiment = record(tmp_path / "out")["experiment"]

    def extend_cfg(cfg):
        cfg.TRAINER.LINEAR = CfgNode({"SCALE": 1.0, "DEPTH": 9})

    monkeypatch.setattr(Linear, "extend_cfg", extend_cfg)
    assert "Finished before" in run(capsys, command)[1]
    assert "TRAINER.LINEAR.DEPTH: 9 -> 3" in refused(capsys, [*command, "TRAINER.LINEAR.DEPTH", "3"])
    train.main(put(command, "--output-dir", tmp_path / "again"))
    assert record(tmp_path / "again")["experiment"] == experiment


def test_checkpoints_of_an_unknown_run_are_not_resumed(tmp_path, command, capsys):
    train.main(command)
    (tmp_path / "out/config.yaml").unlink()
    assert "no config.yaml" in refused(capsys, command)


@pytest.mark.parametrize("name", ["config.yaml", "metrics.json"])
def test_a_damaged_record(tmp_path, command, capsys, name):
    train.main(command)
    (tmp_path / "out" / name).write_text("{")
    assert f"{name} is damaged" in refused(capsys, command)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"accuracy": value} for value in ("abc", True, [1], math.nan, {}, 10**400)),
        *({"checkpoint": value} for value in (5, "x", [], {"sha256": 3})),
        *({"complete": "yes"}, {"mode": ["eval"]}, {"mode": None}),
    ],
)
def test_a_record_of_values_of_the_wrong_kind(tmp_path, command, capsys, wrong):
    train.main(command)
    (tmp_path / "out/metrics.json").write_text(json.dumps(record(tmp_path / "out") | wrong))
    assert "metrics.json is damaged; delete it" in refused(capsys, command)


def test_half_a_character_in_a_record_or_a_name(tmp_path, command, capsys):
    train.main(command)
    (tmp_path / "out/metrics.json").write_text(json.dumps(record(tmp_path / "out") | {"mode": "\ud800"}))
    assert "an unknown run" in refused(capsys, command)
    assert "is no text in UTF-8; rename" in refused(capsys, put(command, "--output-dir", tmp_path / "\udcff"))


def test_a_repeated_section_of_a_yaml_file(tmp_path, command, capsys):
    (tmp_path / "linear.yaml").write_text("OPTIM:\n  LR: 0.1\nSEED: 2\nOPTIM:\n  MAX_EPOCH: 2\n")
    err = refused(capsys, command)
    assert "OPTIM stands in line 1 and again in line 4" in err and "linear.yaml" in err


def test_what_a_yaml_file_leaves_empty_or_writes_with_dots(tmp_path, command, capsys):
    (tmp_path / "linear.yaml").write_text("OPTIM:\n  LR:\n")
    assert "OPTIM.LR" in (err := refused(capsys, command)) and "has no value" in err
    (tmp_path / "linear.yaml").write_text("OPTIM: {LR: 0.1}\nOPTIM.LR: 0.2\n")
    assert "OPTIM.LR" in (err := refused(capsys, command)) and "must be written as sections: OPTIM:" in err


def test_a_place_to_resume_from_that_holds_nothing(tmp_path, command, capsys):
    assert "holds no checkpoint" in refused(capsys, [*command, "RESUME", str(tmp_path / "nowhere")])
    assert not (tmp_path / "out").exists()
    assert run(capsys, command)[0] == 0


@pytest.mark.parametrize("flag", ["--output-dir", "--resume", "--config-file", "--dataset-config-file"])
def test_a_flag_whose_shell_variable_is_not_set(command, capsys, flag):
    with pytest.raises(SystemExit) as left:
        train.main([flag, "", *command])
    assert left.value.code == 2 and f"{flag} is empty" in capsys.readouterr().err


def test_an_output_directory_without_a_name(tmp_path, command, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert "OUTPUT_DIR is empty" in refused(capsys, [*command, "OUTPUT_DIR", ""])
    assert sorted(tmp_path.iterdir()) == before


def test_an_impossible_option_of_the_method(tmp_path, command, capsys, monkeypatch):
    def check_options(cls, cfg):
        if cfg.TRAINER.LINEAR.SCALE < 0:
            raise ValueError("TRAINER.LINEAR.SCALE is negative; allowed: from 0.")

    monkeypatch.setattr(Linear, "check_options", classmethod(check_options), raising=False)
    assert "SCALE is negative" in refused(capsys, [*command, "TRAINER.LINEAR.SCALE", "-1.0"])
    assert not (tmp_path / "out").exists()
    assert train.main(command) == 0


def test_the_options_of_a_method(command, capsys, monkeypatch):
    code, out, _ = run(capsys, ["--trainer", "Linear", "--help-options"])
    assert code == 0 and "TRAINER.LINEAR.SCALE 1.0" in out
    monkeypatch.setattr(Linear, "method", SimpleNamespace(describe=lambda: "SCALE: how much"), raising=False)
    assert run(capsys, ["--trainer", "Linear", "--help-options"])[1] == "SCALE: how much\n"
    assert "did you mean 'Linear'?" in refused(capsys, ["--trainer", "Linaer", "--help-options"])


def test_a_directory_begun_with_dassl_core_is_good_on_upstreams_dassl(tmp_path, command, monkeypatch, capsys):
    train.main(command)
    stored = yaml.safe_load((tmp_path / "out/config.yaml").read_text())
    cfg = build_config(build_parser("").parse_args(command))
    cfg.defrost()
    for section, key in ((cfg.TEST, "SKIP_BROKEN"), (cfg.DATALOADER, "CACHE_MB"), (cfg.DATALOADER.TEST, "NUM_WORKERS")):
        section.pop(key)  # upstream's has none of them
    assert differences(cfg, stored) == []
    stored["TEST"]["SKIP_BROKEN"] = True
    assert differences(cfg, stored) == ["TEST.SKIP_BROKEN: True -> '(not set)'"]


# ---- as a process of its own ----


def test_a_missing_package_names_the_command():
    script = "import sys, promptclip.common.names as needs\n"
    script += "needs.find_spec = lambda name: None if name == 'dassl' else name\n"
    script += "import train; sys.exit(train.main(['--trainer', 'x']))"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2 and "pip install ./dassl-core" in done.stderr and "Traceback" not in done.stderr
