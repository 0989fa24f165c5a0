"""The shared behaviour suite on every trainer of the registry, and on the variants their options make."""

import pytest
import torch
from behaviour import CHECKS, ENTRIES, METHODS, build, data
from dassl.engine import TRAINER_REGISTRY

CASES = [
    pytest.param(entry, check, id=f"{entry[0]}-{check.__name__}")
    for entry in ENTRIES
    for check in CHECKS
    if TRAINER_REGISTRY.get(entry[1]).method.learns or check is CHECKS[0]
]


@pytest.mark.parametrize(("entry", "check"), CASES)
def test_behaviour(entry, check, weights, tmp_path):
    check(entry, weights, tmp_path)


def test_the_registry_holds_every_method():
    assert set(METHODS) >= {
        *("ZeroshotCLIP", "ZeroshotCLIP2", "CoOp", "CoCoOp", "LPT", "VPT", "IVLP", "KgCoOp", "ProGrad"),
        *("MaPLe", "PromptSRC", "RESTORE_m", "RESTORE_p"),
    }


def test_checkpoints_of_another_method_are_refused_by_name(weights, tmp_path):
    build(("MaPLe", "MaPLe", {}), weights, tmp_path).train()
    restore = build(("RESTORE_m", "RESTORE_m", {}), weights, tmp_path / "other")
    with pytest.raises(ValueError, match=r"does not fit RESTORE_m on .*lacks .*looks like MaPLe's"):
        restore.load_model(str(tmp_path), epoch=3)
    with pytest.raises(FileNotFoundError, match="model.pth.tar-3"):
        restore.load_model(str(tmp_path), epoch=9)


def test_text_is_encoded_once_per_evaluation(weights, tmp_path):
    trainer = build(("MaPLe", "MaPLe", {}), weights, tmp_path)
    calls = []
    original = trainer.clip.text
    trainer.clip.text = lambda *args: calls.append(1) or original(*args)
    trainer.set_model_mode("eval")
    with torch.no_grad():
        for _ in range(4):
            trainer.model_inference(data()[1])
    assert len(calls) == 1
