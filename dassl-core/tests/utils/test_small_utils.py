"""Registries, names, files, meters, seeds."""

import os
import random

import numpy as np
import pytest
import torch
from dassl.utils import (
    AverageMeter,
    MetricMeter,
    Registry,
    check_availability,
    check_isfile,
    collect_env_info,
    get_rng_state,
    listdir_nohidden,
    mkdir_if_missing,
    read_json,
    set_random_seed,
    set_rng_state,
    tolist_if_not,
    write_json,
)


def test_registry_registers_finds_and_refuses():
    registry = Registry("TRAINER")

    @registry.register()
    class CoOp:
        pass

    assert registry.get("CoOp") is CoOp
    assert registry.registered_names() == ["CoOp"]
    assert ("CoOp" in registry, "MaPLe" in registry) == (True, False)
    with pytest.raises(KeyError, match="already registered"):
        registry.register(CoOp)
    assert registry.register(CoOp, force=True) is CoOp


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("coop", 'Unknown trainer "coop"; did you mean "CoOp"?'),
        ("CoOpp", 'Unknown trainer "CoOpp"; did you mean "CoOp"?'),
        ("zzz", 'Unknown trainer "zzz"; known are: CoOp, MaPLe.'),
    ],
)
def test_an_unknown_name_gets_one_sentence(name, text):
    registry = Registry("TRAINER")
    for known in ("CoOp", "MaPLe"):
        registry.register(type(known, (), {}))
    with pytest.raises(KeyError) as caught:
        registry.get(name)
    assert str(caught.value) == text


def test_check_availability_serves_both_kinds_of_handlers():
    check_availability("a", ["a", "b"])
    for kind in (KeyError, ValueError):
        with pytest.raises(kind, match="known are: a, b"):
            check_availability("q", ["b", "a"])


def test_folders_and_listings(tmp_path):
    mkdir_if_missing(str(tmp_path / "x" / "y"))
    mkdir_if_missing(str(tmp_path / "x" / "y"))
    mkdir_if_missing("")
    for name in ("b", ".hidden", "a", "C"):
        (tmp_path / "x" / "y" / name).touch()
    assert listdir_nohidden(str(tmp_path / "x" / "y")) == ["C", "a", "b"]
    assert check_isfile(str(tmp_path / "x" / "y" / "a"))
    with pytest.warns(UserWarning, match="No file found"):
        assert not check_isfile(str(tmp_path / "x"))
    assert (tolist_if_not("ab"), tolist_if_not(["ab"])) == (["ab"], ["ab"])


def test_json_goes_out_whole_and_comes_back(tmp_path):
    path = str(tmp_path / "new" / "a.json")
    write_json({"train": [["a.png", 0, "café"]]}, path)
    assert read_json(path) == {"train": [["a.png", 0, "café"]]}
    with pytest.raises(TypeError):
        write_json({"x": object()}, path)
    assert read_json(path) == {"train": [["a.png", 0, "café"]]}
    assert os.listdir(tmp_path / "new") == ["a.json"]


@pytest.mark.parametrize("text", ["", "{", '{"a": 1,}', "[" * 100_000])
def test_a_broken_json_file_is_named(tmp_path, text):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(ValueError, match="split.json.* is not a valid JSON file"):
        read_json(str(tmp_path / "split.json"))


def test_average_meter():
    meter = AverageMeter()
    meter.update(2.0, n=3)
    meter.update(torch.tensor(6.0))
    assert (meter.val, meter.sum, meter.count, meter.avg) == (6.0, 12.0, 4, 3.0)
    moving = AverageMeter(ema=True)
    moving.update(1.0)
    moving.update(2.0)
    assert moving.avg == pytest.approx(0.9 * 0.1 + 0.2)


def test_metric_meter_prints_the_log_line_s_part():
    meter = MetricMeter()
    meter.update({"loss": 1.0, "acc": torch.tensor(25.0)})
    meter.update({"loss": 2.0, "acc": 50.0})
    meter.update(None)
    assert str(meter) == "loss 2.0000 (1.5000) acc 50.0000 (37.5000)"
    with pytest.raises(TypeError, match="must return a dict"):
        meter.update(3.0)


def _draws():
    return random.random(), np.random.rand(), torch.rand(1).item()


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_one_seed_gives_one_sequence(seed):
    set_random_seed(seed)
    first = _draws()
    _draws()
    set_random_seed(seed)
    assert _draws() == first


def test_seed_zero_is_a_seed_of_its_own():
    set_random_seed(0)
    zero = _draws()
    set_random_seed(1)
    assert _draws() != zero


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True, "1", None])
def test_an_impossible_seed_gets_a_sentence(seed):
    with pytest.raises(ValueError, match="from 0 to 4294967295"):
        set_random_seed(seed)


def test_the_random_state_survives_a_file(tmp_path):
    random.gauss(0, 1)
    np.random.randn()  # leaves half of a pair behind, which is part of the state
    torch.save(get_rng_state(), tmp_path / "rng.pt")
    expected = [(_draws(), random.gauss(0, 1), np.random.randn()) for _ in range(3)]
    set_random_seed(9)
    set_rng_state(torch.load(tmp_path / "rng.pt", weights_only=True))
    assert [(_draws(), random.gauss(0, 1), np.random.randn()) for _ in range(3)] == expected


def test_environment_names_what_matters():
    text = collect_env_info()
    assert f"torch {torch.__version__.split('+')[0]}" in text
    assert "Python: " in text
