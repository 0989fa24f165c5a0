"""Training on a real GPU: graphs, precisions, memory, data that comes through pinned memory."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import small_run
import torch
from behaviour import FITTED, a_resumed_run_equals_an_uninterrupted_one, build, data, same, state_of
from dassl.engine import TRAINER_REGISTRY
from trainer_factory import logits

import train
from benchmarks.setting import batch, class_names, random_clip
from benchmarks.setting import build as build_large
from runs.environment import Determinism
from trainers.cuda_graph import CaptureFailed, CudaRecorder, GraphedStep

pytestmark = pytest.mark.gpu
REPOSITORY = Path(train.__file__).parent
RESTORE = ("RESTORE_m", "RESTORE_m", {})


def on_gpu(graph="auto", precision="fp32", node="RESTORE_M"):
    return ["USE_CUDA", True, "MODEL.CUDA_GRAPH", graph, f"TRAINER.{node}.PREC", precision]


@pytest.mark.parametrize("graph", ["auto", "off"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "amp", "bf16"])
@pytest.mark.parametrize("method", ["RESTORE_m", "RESTORE_p", "CoCoOp", "MMRL"])
def test_a_seed_gives_the_same_bits_again(method, precision, graph, weights, tmp_path):
    node = {"RESTORE_m": "RESTORE_M", "RESTORE_p": "RESTORE_P", "CoCoOp": "COCOOP"}.get(method, method)
    states = []
    for number in range(2):
        determinism = Determinism(1, cuda=True, strict=True)
        with determinism:
            trainer = build((method, method, {}), weights, tmp_path / str(number), extra=on_gpu(graph, precision, node))
            trainer.train()
            states.append(state_of(trainer) | {"logits": logits(trainer, data()[1].cuda())})
        assert determinism.record()["deterministic"] is True
    assert same(*states)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "amp", "bf16"])
@pytest.mark.parametrize("method", ["TwoStage", "CLIP_LoRA", *FITTED])
def test_what_no_graph_repeats_trains_too(method, precision, weights, tmp_path):
    node = TRAINER_REGISTRY.get(method).method.node
    trainer = build((method, method, {}), weights, tmp_path, extra=on_gpu("auto", precision, node))
    trainer.train()
    assert trainer.clip.device.type == "cuda" and trainer.precision_name == precision
    assert logits(trainer, data()[1].cuda()).isfinite().all()


@pytest.mark.parametrize("best", ["last_step", "best_val"])
def test_a_resumed_run_equals_an_uninterrupted_one_with_graphs(best, weights, tmp_path):
    def made(entry, weights, folder, extra):
        trainer = build(entry, weights, folder, extra=[*extra, *on_gpu(precision="fp16"), "TEST.FINAL_MODEL", best])
        trainer.val_loader = trainer.test_loader = trainer.train_loader_x
        return trainer

    with Determinism(1, cuda=True, strict=True):
        resumed = a_resumed_run_equals_an_uninterrupted_one(RESTORE, weights, tmp_path, made)
    assert isinstance(resumed.step, GraphedStep) and resumed.step.replay is not None


def test_what_waits_for_the_device_is_refused_before_a_capture(weights, tmp_path, capsys):
    trainer = build(RESTORE, weights, tmp_path, extra=on_gpu())
    gradients = trainer.gradients

    def waits(*inputs):
        torch.ones(1, device="cuda").item()
        return gradients(*inputs)

    trainer.gradients = waits
    trainer.train()
    assert "No CUDA graph of the training step: it waits for the device" in capsys.readouterr().out
    assert logits(trainer, data()[1].cuda()).isfinite().all()


def test_a_capture_that_breaks_leaves_the_stream_as_it_was(weights, tmp_path):
    """Whatever else it leaves behind: a run goes on in another process (test_capture.py)."""
    trainer = build(RESTORE, weights, tmp_path, extra=on_gpu())
    gradients = trainer.gradients

    def breaks(*inputs):
        if torch.cuda.is_current_stream_capturing():
            torch.ones(1, device="cuda").item()
        return gradients(*inputs)

    trainer.gradients = breaks
    before = torch.cuda.current_stream()
    with pytest.raises(CaptureFailed):
        trainer.train()
    assert torch.cuda.current_stream() == before


def test_fp16_gradients_at_500_classes(record_property):
    """ViT-B/16: to half a percent of single precision's, with the loss scale."""
    names, model = class_names(500), random_clip()
    images = batch(names, 4, 224)
    found = {}
    for precision in ("fp32", "fp16"):
        trainer = build_large("RESTORE_m", "fast", names, model, "cuda", options=["TRAINER.RESTORE_M.PREC", precision])
        trainer.launched(images["img"], images["label"])
        found[precision] = torch.cat([one.grad.flatten() for one in trainer.learner.parameters()])
    error = (found["fp16"] - found["fp32"]).norm() / found["fp32"].norm()
    record_property("error", error.item())
    assert error < 0.005


@pytest.mark.parametrize("method", ["MaPLe", "RESTORE_m"])
def test_memory_at_500_classes_is_foretold(method, record_property):
    """ViT-B/16 in fp16, steps as graphs, and an evaluation of 100 images beside the graph."""
    names = class_names(500)
    trainer = build_large(method, "graph", names, random_clip(), "cuda")
    layout, shift = trainer.classes.text, trainer.learner.shift_scale is not None
    foretold = trainer.clip.kept_bytes(layout, 4, 2, shift), trainer.clip.passing_bytes(layout, 100)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        trainer.forward_backward(batch(names, 4, 224))
    stepped = torch.cuda.max_memory_allocated() - before
    held = torch.cuda.memory_allocated()
    trainer.set_model_mode("eval")
    torch.cuda.reset_peak_memory_stats()
    with torch.no_grad():
        assert trainer.model_inference(batch(names, 100, 224)["img"].cuda()).isfinite().all()
    tested = torch.cuda.max_memory_allocated() - held
    record_property("bytes", [stepped, tested, *foretold])
    assert 0.6 < stepped / foretold[0] < 1.8 and tested < 1.8 * foretold[1], (stepped, tested, foretold)


def test_a_real_loader_with_workers_and_pinned_memory(tmp_path):
    argv = small_run.prepare(tmp_path / "small")
    path = os.pathsep.join([str(REPOSITORY), str(Path(small_run.__file__).parent), *sys.path])
    lines = []
    for graph in ("auto", "off"):
        folder = tmp_path / graph
        options = ["DATALOADER.NUM_WORKERS", "2", "MODEL.CUDA_GRAPH", graph]
        program = [sys.executable, "-c", "import sys, small_run, train; sys.exit(train.main())"]
        done = subprocess.run(
            [*program, *argv, "--output-dir", str(folder), *options],
            **{"env": os.environ | {"PYTHONPATH": path}, "capture_output": True, "text": True},
        )
        assert done.returncode == 0, done.stderr
        assert "CUDA graph of the" not in done.stdout
        record = json.loads((folder / "metrics.json").read_text())
        assert record["deterministic"] is True and record["device"] == torch.cuda.get_device_name()
        lines.append(small_run.epoch_lines(folder))
    assert len(lines[0]) == 12 and lines[0] == lines[1]  # the very same kernels


def test_a_graph_is_one_launch(weights, tmp_path):
    trainer = build(RESTORE, weights, tmp_path, extra=on_gpu())
    trainer.train()
    assert isinstance(trainer.step, GraphedStep) and isinstance(trainer.step.recorder, CudaRecorder)
    inputs = [data()[0][0][key] for key in ("img", "label")]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        trainer.step(*inputs)
    launches = sum(event.count for event in profile.key_averages() if event.key.startswith("cudaLaunch"))
    assert launches < 10
