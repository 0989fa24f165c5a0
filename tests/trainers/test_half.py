"""Every method in half precision, which runs take on a GPU alone, as far as a CPU's half precision shows it."""

import pytest
import torch
from behaviour import ENTRIES, FITTED, build, data
from dassl.engine import TRAINER_REGISTRY
from trainer_factory import logits


@pytest.mark.parametrize("precision", ["fp16", "amp", "bf16"])
@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry[0]) for entry in ENTRIES])
def test_trains_near_single_precision(entry, precision, weights, tmp_path, anywhere, capsys):
    node = TRAINER_REGISTRY.get(entry[1]).method.node
    found = []
    for name in ("fp32", precision):
        trainer = build(entry, weights, tmp_path / name, epochs=2, extra=[f"TRAINER.{node}.PREC", name])
        if trainer.method.learns:
            trainer.train()
        assert trainer.precision_name == name
        assert all(parameter.dtype == torch.float32 for parameter in trainer.learner.parameters())
        found.append(logits(trainer, data()[1]).float())
    if "Gradients overflowed" in capsys.readouterr().out:  # steps were left out
        assert entry[2].get("SHIFT_NORM") == "fro" and found[1].isfinite().all()
        return
    # bfloat16 has 8 bits, and processors with arithmetic of its own round otherwise than those that compute in single
    scale = 0.08 if precision == "bf16" else 0.05 if entry[1] in FITTED else 0.02
    assert (found[0] - found[1]).abs().max() < scale * found[0].abs().max() + scale
