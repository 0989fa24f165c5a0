"""A replayed training step is the step itself: for every method, on a tape that stands in for CUDA's graphs."""

import dataclasses

import pytest
import torch
from behaviour import ENTRIES, FITTED, build, data, same, state_of
from dassl.engine import TRAINER_REGISTRY
from tape import OnDevice, Tape, TapeRecorder

from trainers.cuda_graph import CaptureFailed, GraphedStep, alike

TRAINED = [
    pytest.param(entry, id=entry[0])
    for entry in ENTRIES
    if (method := TRAINER_REGISTRY.get(entry[1]).method).learns and method.graph and entry[1] not in FITTED
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
    """Breaks at some point of a capture."""

    at: str

    def __post_init__(self):
        super().__init__()

    def warm_up(self, work, strict):
        result = super().warm_up(work, strict)
        if self.at == "waits" and strict:
            raise RuntimeError("called a synchronizing CUDA operation\nsecond line")
        if self.at == "first" or (self.at == "memory" and strict):
            raise torch.OutOfMemoryError("out of memory")
        return result

    def record(self, work):
        result, replay = super().record(work)
        if self.at == "capture":
            raise RuntimeError("operation would make the legacy stream depend on a capturing stream\nsecond line")
        if self.at == "replay":
            result.numbers.zero_()
            return result, lambda: None
        return result, replay


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        ("waits", "it waits for the device (called a synchronizing CUDA operation)"),
        ("replay", "its first replay differs from the step itself in its numbers (0)"),
    ],
)
def test_a_graph_that_is_no_good_is_said_and_not_used(at, reason, weights, tmp_path, capsys):
    entry = ("RESTORE_m", "RESTORE_m", {})
    expected = history(build(entry, weights, tmp_path / "plain"))
    ours = graphed(build(entry, weights, tmp_path / "ours"), Broken(at))
    capsys.readouterr()
    assert history(ours) == expected
    lines = [line for line in capsys.readouterr().out.splitlines() if "CUDA graph" in line]
    assert len(lines) == 1 and lines[0].startswith(f"No CUDA graph of the training step: {reason}")


@pytest.mark.parametrize(
    ("at", "error"),
    [("capture", CaptureFailed), ("first", torch.OutOfMemoryError), ("memory", torch.OutOfMemoryError)],
)
def test_what_a_graph_cannot_get_over_ends_the_training(at, error, weights, tmp_path):
    trainer = graphed(build(("RESTORE_m", "RESTORE_m", {}), weights, tmp_path), Broken(at))
    with pytest.raises(error):
        trainer.train()
    assert trainer.epoch == 0 and not list((tmp_path / trainer.method.folder).glob("model*"))


def test_a_replay_is_held_against_the_step_number_by_number():
    def close(*values):
        return alike(*(None if value is None else torch.tensor(value) for value in values))

    assert close(1.8, 1.805) and not close(0.9, 1.8) and close(0.0, 0.0) and close(None, None)
    assert not close(None, 1.0) and not close(1e-3, 2e-3) and close(1e-9, 5e-6)
    assert close([1.0, 2.0], [1.001, 2.0]) and not close([0.0, 2.0], [1.0, 2.0])
    nan, inf = float("nan"), float("inf")
    assert close([inf, 2.0], [1e5, 2.001]) and not close([inf, 2.0], [1e5, 3.0])  # an order of summation overflowed
    assert close([nan], [nan]) and not close([nan], [inf])
    assert close([0.0, 0.0], [0.0, 0.0]) and not close([1e-6, 0.0], [0.0, 0.0])


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


def test_a_step_that_is_another_each_time_is_not_replayed(weights, tmp_path, monkeypatch):
    monkeypatch.setattr("trainers.trainer.recorder_for", lambda device: TapeRecorder())
    for method in ("TwoStage", "CLIP_LoRA"):
        trainer = build((method, method, {}), weights, tmp_path / method)
        trainer.plan_memory()
        assert not isinstance(trainer.step, GraphedStep)
        with pytest.raises(ValueError, match=f"CUDA_GRAPH is on, but a step of {method} is another each time"):
            build((method, method, {}), weights, tmp_path / method, extra=["MODEL.CUDA_GRAPH", "on"])
    trainer = build(("MaPLe", "MaPLe", {}), weights, tmp_path, extra=["MODEL.CUDA_GRAPH", "on"])
    trainer.plan_memory()
    assert isinstance(trainer.step, GraphedStep)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "amp", "bf16"])
@pytest.mark.parametrize("entry", TRAINED)
def test_cuda_graphs_train_the_same(entry, precision, weights, tmp_path, capsys):
    node = TRAINER_REGISTRY.get(entry[1]).method.node
    results = []
    for graph in (False, True):
        extra = [*ON_GPU, "MODEL.CUDA_GRAPH", "auto" if graph else "off", f"TRAINER.{node}.PREC", precision]
        trainer = build(entry, weights, tmp_path / str(graph), extra=extra)
        results.append(history(trainer))
        assert isinstance(trainer.step, GraphedStep) == graph
    assert "No CUDA graph" not in capsys.readouterr().out
    for plain, ours in zip(*results, strict=True):
        assert ours == pytest.approx(plain, rel=0.02, abs=0.02)
