"""TensorBoard's events of a run, and its record in Weights & Biases, offline."""

import json

import pytest

from runs import tracking

SHORT = ("OPTIM.MAX_EPOCH", "2")


def test_tensorboard_has_losses_shift_alpha_rate_and_evaluations(perform, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = perform(tmp_path / "out", *SHORT)
    events = EventAccumulator(str(tmp_path / "out/tensorboard"))
    events.Reload()
    there = set(events.Tags()["scalars"])
    history = json.loads((tmp_path / "out/history.json").read_text())
    expected = {f"train/{name}" for part in ("losses", "other") for name in history[-1][part]}
    expected |= {"train/acc", "train/lr", "shift/text", "shift/vision", "test/accuracy", "test/macro_f1"}
    expected |= {f"test/{name}" for name in ("ece", "adaptive_ece", "mce", "brier", "nll", "mean_true_probability")}
    assert expected <= there and "train/alpha_image" in there
    for name in ("ece", "nll"):
        assert events.Scalars(f"test/{name}")[-1].value == pytest.approx(run.record[name], rel=1e-5)
    means = [entry["feature_shift"]["text"]["mean"] for entry in history]
    assert [one.value for one in events.Scalars("shift/text")] == pytest.approx([sum(m) / len(m) for m in means])


def offline_content(folder):
    """What an offline run of W&B has written: a log of protocol buffers, whose texts stand in it as they are."""
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    return file.read_bytes().decode("latin-1")


def test_the_record_goes_to_weights_and_biases(perform, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason='W&B is an extra: pip install ".[tracking]"')
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = perform(tmp_path / "out", "--wandb", *SHORT)
    assert "Weights & Biases: " in run.out and run.record["complete"]
    content = offline_content(tmp_path / "out")
    history = json.loads((tmp_path / "out/history.json").read_text())
    for key, value in (
        ("ece", run.record["ece"]),
        ("nll", run.record["nll"]),
        ("train/loss", history[0]["losses"]["loss"]),
        ("train/loss", history[1]["losses"]["loss"]),
        ("TRAINER.NAME", '"RESTORE_p"'),
    ):
        assert key in content and str(value)[:12] in content
    assert "shift/text" in content and run.record["experiment"] in content


def test_what_stands_in_the_way_costs_no_run(perform, tmp_path, monkeypatch):
    def broken(directory):
        raise OSError("no network")

    monkeypatch.setattr("runs.run.require", lambda name: None)
    monkeypatch.setattr("runs.run.log_run", broken)
    run = perform(tmp_path / "out", "--wandb", *SHORT)
    assert run.record["complete"] and "took nothing (no network)" in run.out


def test_without_the_package_nothing_is_begun(perform, tmp_path, monkeypatch, command, capfd):
    import train

    def missing(name):
        raise ModuleNotFoundError("The Python package wandb cannot be found; run `pip install wandb`.")

    monkeypatch.setattr("runs.run.require", missing)
    assert train.main([*command, "--output-dir", str(tmp_path / "out"), "--wandb"]) == 2
    assert "pip install wandb" in capfd.readouterr().err and not (tmp_path / "out").exists()


def test_numbers_of_a_record():
    record = {
        "accuracy": 60.0,
        "complete": True,
        "trainer": "x",
        "joint": {"ausuc": 3.0, "curve": [[1.0]]},
        "ece": None,
    }
    assert tracking.numbers(record | {"config": {"SEED": 1}}) == {"accuracy": 60.0, "joint.ausuc": 3.0}


def test_only_finished_runs_are_logged(tmp_path, capsys):
    assert tracking.main([str(tmp_path)]) == 2 and "no metrics.json" in capsys.readouterr().err
    (tmp_path / "metrics.json").write_text('{"complete": false}')
    assert tracking.main([str(tmp_path)]) == 2 and "unfinished" in capsys.readouterr().err
