"""A replayed training step is the step itself: for every method, on a tape that stands in for CUDA's graphs."""

import dataclasses

import pytest
import torch
from behaviour import ENTRIES, FITTED, build, data, same, state_of
from dassl.engine import TRAINER_REGISTRY
from tape import OnDevice, Tape, TapeRecorder

from trainers.cuda_graph import GraphedStep

# Not repeated by a graph: what takes no steps, what asks in each for its stage, what draws dropout (a first replay does
# not say what the step said).
NOT_GRAPHED = (*FITTED, "TwoStage", "CLIP_LoRA")
TRAINED = [
    pytest.param(entry, id=entry[0])
    for entry in ENTRIES
    if TRAINER_REGISTRY.get(entry[1]).method.learns and entry[0] not in NOT_GRAPHED
]
ON_GPU = ["USE_CUDA", True]


def graphed(trainer, recorder):
    """The trainer's steps become replays."""
    trainer.step = GraphedStep(trainer.gradients, trainer.learner, recorder)
    return trainer


def history(trainer):
    """Train to the end; every step's summary."""
    seen, step = [], trainer.forward_backward

    def watched(batch):
        seen.append(step(batch))
        return seen[-1]

    trainer.forward_backward = watched
    trainer.train()
    return seen


@pytest.mark.parametrize("entry", TRAINED)
def test_replays_train_the_same_bit_for_bit(entry, weights, tmp_path):
    plain = build(entry, weights, tmp_path / "plain")
    expected = history(plain)
    recorder = TapeRecorder()
    ours = graphed(build(entry, weights, tmp_path / "ours"), recorder)
    assert history(ours) == expected
    assert recorder.replays == len(expected) + 1  # the first is held against the step
    assert same(state_of(plain), state_of(ours))


@pytest.mark.parametrize("entry", TRAINED)
def test_a_step_stays_on_the_device(entry, weights, tmp_path, monkeypatch):
    """On "meta", whose tensors have no values to ask for, and where a copy from the host is seen."""
    if entry[1] == "TCP":
        return  # where its tokens lie is worked out from values in the warm-up, which "meta" has not
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: False)  # which does not know "meta"
    trainer = build(entry, weights, tmp_path)
    trainer.clip.model.to("meta")
    trainer.learner.to("meta")
    trainer.classes = trainer.classes.to("meta")
    inputs = [data()[0][0][key].to("meta") for key in ("img", "label")]
    if entry[1] != "TCP":  # whose layout asks for values the first time
        trainer.gradients(*inputs)  # warm-up, as before a capture
    with OnDevice("meta") as watch:
        result = trainer.gradients(*inputs)
    assert watch.count > 100 and result.numbers.shape == (len(trainer.numbers) + 2,)


def test_the_watch_sees_a_copy_from_the_host():
    with pytest.raises(RuntimeError, match="touches cpu"), OnDevice("meta"):
        torch.ones(2).to("meta")
    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"), Tape():
        torch.ones(1).item()


def test_another_shape_takes_the_step_itself_or_a_capture_of_its_own(weights, tmp_path):
    entry = ("RESTORE_m", "RESTORE_m", {})
    train = data()[0]
    sizes = [2, 4, 4, 3, 4]
    results = []
    recorder = TapeRecorder()
    for name in ("plain", "ours"):
        trainer = build(entry, weights, tmp_path / name)
        if name == "ours":
            graphed(trainer, recorder)
        trainer.epoch, trainer.batch_idx, trainer.num_batches = 0, 0, 100
        trainer.set_model_mode("train")
        results.append(
            [trainer.forward_backward({key: train[0][key][:size] for key in ("img", "label")}) for size in sizes]
            + [state_of(trainer)]
        )
    assert results[0][:-1] == results[1][:-1] and same(results[0][-1], results[1][-1])
    assert recorder.replays == 2 + 4  # two captures' proofs, one step of 2 images and three of 4


@dataclasses.dataclass
class Broken(TapeRecorder):
    """Fails to capture, or replays nothing."""

    fails: bool

    def record(self, work):
        result = work()
        if self.fails:
            raise RuntimeError("operation would make the legacy stream depend on a capturing stream\nsecond line")
        result.numbers.zero_()
        return result, lambda: None


@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        (True, "capturing failed (operation would make the legacy stream depend on a capturing stream)"),
        (False, "its first replay differs from the step itself in its numbers"),
    ],
)
def test_a_graph_that_fails_is_said_and_not_used(fails, reason, weights, tmp_path, capsys):
    entry = ("RESTORE_m", "RESTORE_m", {})
    expected = history(build(entry, weights, tmp_path / "plain"))
    ours = graphed(build(entry, weights, tmp_path / "ours"), Broken(fails))
    capsys.readouterr()
    assert history(ours) == expected
    lines = [line for line in capsys.readouterr().out.splitlines() if "CUDA graph" in line]
    assert len(lines) == 1 and lines[0].startswith(f"No CUDA graph of the training step: {reason}")


def test_a_loss_that_breaks_is_named_and_nothing_is_learned_from_it(weights, tmp_path):
    trainer = graphed(build(("MaPLe", "MaPLe", {}), weights, tmp_path), TapeRecorder())
    trainer.epoch, trainer.batch_idx, trainer.num_batches = 0, 0, 100
    trainer.set_model_mode("train")
    batch = data()[0][0]
    trainer.forward_backward(batch)
    before = state_of(trainer)
    with pytest.raises(FloatingPointError, match="The term ce broke in epoch 1, batch 1"):
        trainer.forward_backward(batch | {"img": batch["img"] * float("nan")})
    assert same(before, state_of(trainer))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "amp", "bf16"])
@pytest.mark.parametrize("entry", TRAINED)
def test_cuda_graphs_train_the_same(entry, precision, weights, tmp_path, capsys):
    node = TRAINER_REGISTRY.get(entry[1]).method.node
    results = []
    for graph in (False, True):
        extra = [*ON_GPU, "MODEL.CUDA_GRAPH", graph, f"TRAINER.{node}.PREC", precision]
        trainer = build(entry, weights, tmp_path / str(graph), extra=extra)
        results.append(history(trainer))
        assert isinstance(trainer.step, GraphedStep) == graph
    assert "No CUDA graph" not in capsys.readouterr().out
    for plain, ours in zip(*results, strict=True):
        assert ours == pytest.approx(plain, rel=0.02, abs=0.02)
