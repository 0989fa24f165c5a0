"""Checkpoints appear whole or not at all, and no file, however made, runs anything."""

import io
import os
import pickle
import random
from collections import defaultdict

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler
from dassl.utils import (
    CheckpointError,
    count_num_param,
    load_checkpoint,
    load_pretrained_weights,
    resume_from_checkpoint,
    save_checkpoint,
)
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR


def _state(epoch, value=0.0):
    return {"state_dict": {"w": torch.full((2, 3), value)}, "epoch": epoch, "optimizer": None, "scheduler": None}


def test_the_files_and_their_names(tmp_path, capsys):
    folder = tmp_path / "run" / "prompt_learner"
    save_checkpoint({**_state(3), "state_dict": {"module.w": torch.ones(1)}}, str(folder))
    assert sorted(os.listdir(folder)) == ["checkpoint", "model.pth.tar-3"]
    assert (folder / "checkpoint").read_text() == "model.pth.tar-3\n"
    assert list(torch.load(folder / "model.pth.tar-3", weights_only=True)["state_dict"]) == ["w"]
    assert capsys.readouterr().out == f"Checkpoint saved to {folder / 'model.pth.tar-3'}\n"
    save_checkpoint(_state(4, 2.0), str(folder), is_best=True)
    save_checkpoint(_state(5), str(folder), model_name="mine.pth.tar")
    assert load_checkpoint(str(folder / "model-best.pth.tar"))["state_dict"]["w"][0, 0] == 2.0
    assert (folder / "checkpoint").read_text() == "mine.pth.tar\n"


@pytest.mark.parametrize("failing", ["save", "fsync", "replace"])
def test_a_failed_write_leaves_the_one_before(tmp_path, monkeypatch, failing):
    save_checkpoint(_state(1, 1.0), str(tmp_path), model_name="model-best.pth.tar")

    def half(state, f):
        f.write(b"half a checkpoint")
        raise RuntimeError("[enforce fail at inline_container.cc] unexpected pos 64 vs 0")

    def full(*args):
        raise OSError(28, "No space left on device")

    if failing == "save":
        monkeypatch.setattr(torch, "save", half)
    else:
        monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="model-best.pth.tar.* could not be written"):
        save_checkpoint(_state(2, 2.0), str(tmp_path), model_name="model-best.pth.tar")
    monkeypatch.undo()
    assert load_checkpoint(str(tmp_path / "model-best.pth.tar"))["epoch"] == 1
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "model-best.pth.tar"]


def test_what_a_killed_writer_left_is_used_up_by_the_next(tmp_path):
    (tmp_path / ".model.pth.tar.part").write_bytes(b"half")
    save_checkpoint(_state(1), str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "model.pth.tar-1"]


class Payload:
    """Would create a file if it were unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return (os.system, (f"touch {self.target}",))


class Opener(Payload):
    """Would create a file through a harmless-looking builtin."""

    def __reduce__(self):
        return (open, (self.target, "w"))


class Evaluator(Payload):
    """Would run code as the constructor arguments of a class that has an inert stand-in."""

    def __reduce__(self):
        return (CosineAnnealingLR, (Payload(self.target),))


@pytest.mark.parametrize("payload", [Payload, Opener, Evaluator])
@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_a_malicious_file_runs_nothing(tmp_path, payload, how):
    target, path = tmp_path / "pwned", tmp_path / "evil.pth.tar"
    state = {**_state(1), "scheduler": payload(target)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(state, protocol=2))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(str(path))
    assert not target.exists()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    # The payload works: this is what the reader withstood.
    if payload is not Evaluator:
        pickle.loads(pickle.dumps(payload(target)))
        assert target.exists()


def _file(tmp_path, content):
    path = tmp_path / "model.pth.tar-1"
    path.write_bytes(content)
    return str(path)


def _bytes(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"some text that is no checkpoint\n",
        _bytes(_state(1))[:500],
        _bytes(torch.zeros(2)),
        pickle.dumps([1, 2]),
        b"\x80\x02]q\x00.",
    ],
    ids=["empty", "zip head", "text", "cut short", "tensor", "pickle", "list"],
)
def test_what_is_no_checkpoint_gets_one_sentence(tmp_path, content):
    path = _file(tmp_path, content)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_in_a_tensor_is_noticed(tmp_path):
    good = _bytes(_state(1, 1.5))
    at = good.index(torch.full((6,), 1.5).numpy().tobytes())
    path = _file(tmp_path, good[:at] + b"\x01" + good[at + 1 :])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_mutated_files_load_unchanged_or_get_a_sentence(tmp_path):
    good = _bytes(_state(1, 1.5))
    rng = random.Random(0)
    loaded = 0
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rng.choice([1, 1, 4, 30])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            checkpoint = load_checkpoint(
                _file(tmp_path, bytes(data[: rng.choice([len(data), rng.randrange(len(data))])]))
            )
        except CheckpointError:
            continue
        # Names and padding of the archive may change, its content may not.
        loaded += 1
        assert checkpoint["epoch"] == 1
        assert torch.equal(checkpoint["state_dict"]["w"], torch.full((2, 3), 1.5))
    assert 0 < loaded < 150


@pytest.mark.parametrize(
    ("state_dict", "hint"),
    [
        (None, "is a NoneType"),
        ([torch.zeros(1)], "is a list"),
        ({0: torch.zeros(1)}, "0: a Tensor"),
        ({"w": "text"}, "'w': a str"),
        ({"w": {"v": torch.zeros(1)}}, "'w': a dict"),
        ({"w" * 100_000: 3}, "a int"),
    ],
)
def test_weights_that_are_none_get_one_sentence(tmp_path, state_dict, hint):
    torch.save({"state_dict": state_dict, "epoch": 1}, tmp_path / "model.pth.tar-1")
    (tmp_path / "checkpoint").write_text("model.pth.tar-1\n")
    for read in (load_checkpoint, lambda path: load_pretrained_weights(nn.Linear(1, 1), path)):
        with pytest.raises(CheckpointError) as caught:
            read(str(tmp_path / "model.pth.tar-1"))
        assert hint in str(caught.value) and "model.pth.tar-1" in str(caught.value)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    with pytest.raises(CheckpointError, match="cannot be resumed"):
        resume_from_checkpoint(str(tmp_path), nn.Linear(1, 1))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there/model"):
        load_checkpoint(str(tmp_path / "there" / "model"))
    with pytest.raises(ValueError, match="No checkpoint path"):
        load_checkpoint(None)


def _model_and_schedule(epochs=10):
    c = get_cfg_default().OPTIM
    c.LR_SCHEDULER, c.MAX_EPOCH, c.WARMUP_EPOCH, c.WARMUP_TYPE = "cosine", epochs, 1, "constant"
    model = nn.Linear(3, 2)
    optim = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9)
    return model, optim, build_lr_scheduler(optim, c)


def _step(model, optim, sched):
    lr = optim.param_groups[0]["lr"]
    optim.zero_grad()
    model(torch.ones(1, 3)).sum().backward()
    optim.step()
    sched.step()
    return lr


def _upstream_state(sched, optim):
    """Return the warm-up schedule's state as upstream saves it: the successor whole, bound to an optimiser."""
    copy = pickle.loads(pickle.dumps(sched.successor))
    assert isinstance(copy, CosineAnnealingLR)
    assert isinstance(copy.optimizer, torch.optim.SGD)
    copy.optimizer.state = defaultdict(dict)  # as older torch keeps it
    copy.verbose = False
    return {
        "successor": copy,
        "warmup_epoch": 1,
        "cons_lr": 1e-5,
        "base_lrs": [0.002],
        "last_epoch": sched.last_epoch,
        "verbose": False,
        "_step_count": sched._step_count,
        "_get_lr_called_within_step": False,
        "_last_lr": [optim.param_groups[0]["lr"]],
    }


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("stop", [1, 4])
def test_upstream_s_checkpoint_loads_and_even_resumes(tmp_path, stop, legacy):
    model, optim, sched = _model_and_schedule()
    whole = [_step(model, optim, sched) for _ in range(10)]
    model, optim, sched = _model_and_schedule()
    lrs = [_step(model, optim, sched) for _ in range(stop)]
    state = {
        "state_dict": model.state_dict(),
        "epoch": stop,
        "optimizer": optim.state_dict(),
        "scheduler": _upstream_state(sched, optim),
        "val_result": None,
    }
    torch.save(state, tmp_path / f"model.pth.tar-{stop}", _use_new_zipfile_serialization=not legacy)
    (tmp_path / "checkpoint").write_text(f"model.pth.tar-{stop}\n")
    new_model, new_optim, new_sched = _model_and_schedule()
    assert resume_from_checkpoint(str(tmp_path), new_model, new_optim, new_sched) == stop
    assert torch.equal(new_model.weight, model.weight)
    assert new_sched.successor.optimizer is new_optim
    lrs += [_step(new_model, new_optim, new_sched) for _ in range(stop, 10)]
    assert lrs == whole


def test_a_pickled_scheduler_becomes_inert(tmp_path):
    model, optim, sched = _model_and_schedule()
    torch.save({**_state(1), "scheduler": _upstream_state(sched, optim)}, tmp_path / "a")
    successor = load_checkpoint(str(tmp_path / "a"))["scheduler"]["successor"]
    assert type(successor).__name__ == "Inert"
    assert successor.state["T_max"] == 10
    assert not hasattr(successor, "step")


def test_resuming_prints_and_returns_the_epoch(tmp_path, capsys):
    model, optim, sched = _model_and_schedule()
    state = {"optimizer": optim.state_dict(), "scheduler": sched.state_dict(), "val_result": None}
    save_checkpoint({"state_dict": model.state_dict(), "epoch": 7, **state}, str(tmp_path))
    assert resume_from_checkpoint(str(tmp_path), *_model_and_schedule()) == 7
    out = capsys.readouterr().out
    assert f'Loading checkpoint from "{tmp_path / "model.pth.tar-7"}"' in out
    assert "Previous epoch: 7" in out


@pytest.mark.parametrize("pointer", ["", "../other/model.pth.tar-1\n", "/etc/passwd\n", ".."])
def test_a_pointer_cannot_lead_out_of_its_folder(tmp_path, pointer):
    (tmp_path / "checkpoint").write_text(pointer)
    with pytest.raises(CheckpointError):
        resume_from_checkpoint(str(tmp_path), nn.Linear(1, 1))


def test_a_damaged_newest_checkpoint_is_no_reason_to_take_an_older_one(tmp_path):
    model, *_ = _model_and_schedule()
    for epoch in (1, 2):
        save_checkpoint({"state_dict": model.state_dict(), "epoch": epoch}, str(tmp_path))
    (tmp_path / "model.pth.tar-2").write_bytes(b"PK")
    with pytest.raises(
        CheckpointError, match=r"cannot be resumed: .*model\.pth\.tar-2.*older checkpoint.*from scratch"
    ):
        resume_from_checkpoint(str(tmp_path), nn.Linear(3, 2))


GROUP = {"lr": 0.1, "momentum": 0.9, "dampening": 0, "weight_decay": 0, "nesterov": False, "maximize": False}
GROUP |= {"foreach": None, "differentiable": False, "fused": None, "params": [0, 1]}


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"state_dict": {"weight": torch.zeros(5, 3), "bias": torch.zeros(2)}}, "size mismatch for weight"),
        ({"state_dict": {"weight": torch.zeros(2, 3)}}, "Missing key"),
        ({"optimizer": {"state": {}, "param_groups": []}}, "optimizer"),
        ({"optimizer": "text"}, "optimizer"),
        ({"optimizer": {"state": {0: {"momentum_buffer": torch.zeros(7)}}, "param_groups": [GROUP]}}, "optimizer"),
        ({"optimizer": {"state": {0: {"momentum_buffer": 3}}, "param_groups": [GROUP]}}, "optimizer"),
        ({"optimizer": {"state": {0: []}, "param_groups": [GROUP]}}, "optimizer"),
        ({"optimizer": {"state": {}, "param_groups": [GROUP | {"momentum": "much"}]}}, "optimizer"),
        ({"optimizer": {"state": {}, "param_groups": [GROUP | {"lr": float("nan")}]}}, "optimizer"),
        ({"scheduler": 3}, "scheduler"),
        ({"scheduler": {"last_epoch": "1", "_step_count": 2, "_last_lr": [0.1], "successor": {}}}, "scheduler"),
        ({"scheduler": {"last_epoch": 1, "_step_count": 2, "_last_lr": [], "successor": {}}}, "scheduler"),
        ({"state_dict": {"weight": torch.full((2, 3), float("nan")), "bias": torch.zeros(2)}}, "weight is NaN"),
        ({"scheduler": {"last_epoch": 1}}, "no warm-up"),
    ],
)
def test_a_checkpoint_of_something_else_is_named(tmp_path, change, hint):
    model, optim, sched = _model_and_schedule()
    state = {"state_dict": model.state_dict(), "epoch": 1, "optimizer": None, "scheduler": None, **change}
    save_checkpoint(state, str(tmp_path))
    with pytest.raises(CheckpointError, match=hint) as caught:
        resume_from_checkpoint(str(tmp_path), model, optim, sched)
    assert "model.pth.tar-1" in str(caught.value)


def test_a_warm_up_is_not_forgotten_silently(tmp_path):
    model, optim, sched = _model_and_schedule()
    save_checkpoint({"state_dict": model.state_dict(), "epoch": 1, "scheduler": sched.state_dict()}, str(tmp_path))
    with pytest.raises(CheckpointError, match="WARMUP_EPOCH asks for none"):
        resume_from_checkpoint(str(tmp_path), model, optim, CosineAnnealingLR(optim, 10))


def test_a_bare_state_dict_is_no_training_checkpoint(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "w")
    (tmp_path / "checkpoint").write_text("w")
    with pytest.raises(CheckpointError, match="no entry state_dict and no epoch"):
        resume_from_checkpoint(str(tmp_path), nn.Linear(1, 1))


def test_pretrained_weights_fill_what_fits_and_name_the_rest(tmp_path, capsys):
    model = nn.Linear(3, 2)
    found = {"module.weight": torch.ones(2, 3), "bias": torch.zeros(7), "other": torch.zeros(1)}
    torch.save({"state_dict": found}, tmp_path / "w")
    bias = model.bias.clone()
    load_pretrained_weights(model, str(tmp_path / "w"))
    assert torch.equal(model.weight, torch.ones(2, 3))
    assert torch.equal(model.bias, bias)
    assert "Layers discarded due to unmatched keys or size: ['bias', 'other']" in capsys.readouterr().out
    torch.save({"weight": torch.full((2, 3), 4.0)}, tmp_path / "weights alone")
    load_pretrained_weights(model, str(tmp_path / "weights alone"))
    assert model.weight[0, 0] == 4.0


def test_pretrained_weights_that_fit_nowhere_are_refused(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "w")
    with pytest.raises(CheckpointError, match="None of the 1 entries"):
        load_pretrained_weights(nn.Linear(1, 1), str(tmp_path / "w"))


def test_counting_parameters():
    model = nn.Linear(3, 2)
    assert count_num_param(model) == 8
    assert count_num_param(params=[model.bias]) == count_num_param(params=model.bias) == 2
    with pytest.raises(ValueError, match="needs a model"):
        count_num_param()
