"""What the benchmarks compare computes the same, and the class names are what they are said to be."""

import pytest
import torch
from small_clip import clip_model, in_double

from benchmarks.setting import LISTS, PATHS, USUAL, batch, build, class_names
from promptclip import ClassPrompts

NAMES = ["cat", "boeing 737-200", "2000 AM General Hummer SUV", "forest", "sea or lake"]


@pytest.mark.parametrize("method", USUAL)
def test_both_paths_take_the_same_step(method):
    data = batch(NAMES, 4, 32)
    model = clip_model("tiny12")
    results = []
    for path in ("plain", "fast"):
        trainer = build(method, path, NAMES, model)
        losses = trainer.forward_backward(data)
        results.append((losses, {name: p.grad for name, p in trainer.learner.named_parameters()}))
    (losses, gradients), (fast_losses, fast_gradients) = results
    assert losses.keys() == fast_losses.keys()
    for name, value in losses.items():
        assert fast_losses[name] == pytest.approx(value, rel=1e-4), name
    for name, gradient in gradients.items():
        assert (fast_gradients[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-7, name


@pytest.mark.parametrize("method", USUAL)
def test_logits_losses_and_gradients_agree_in_double_precision(method):
    data = batch(NAMES, 4, 32)
    results = []
    for path in ("plain", "fast"):
        trainer = build(method, path, NAMES, in_double(clip_model("tiny12")))
        trainer.learner.double()
        output = trainer.learner(trainer.clip, trainer.classes, data["img"].double())
        terms = trainer.learner.losses.items()
        losses = {name: loss.weight * loss.function(output, data["label"]) for name, loss in terms}
        learned = dict(trainer.learner.named_parameters())
        gradients = torch.autograd.grad(sum(losses.values()), list(learned.values()))
        results.append({"logits": output.logits} | losses | dict(zip(learned, gradients, strict=True)))
    for name, value in results[0].items():
        assert value.dtype == torch.double
        assert torch.allclose(results[1][name], value, rtol=1e-8, atol=1e-8 * value.abs().max().item()), name


@pytest.mark.parametrize("method", ["MaPLe", "RESTORE_m"])
def test_slices_leave_loss_and_features_as_they_are(method):
    data = batch(NAMES, 4, 32)
    whole, sliced = (build(method, "plain", NAMES, clip_model("tiny12"), slice_size=size) for size in (0, 2))
    assert sliced.forward_backward(data)["loss"] == pytest.approx(whole.forward_backward(data)["loss"], rel=1e-5)


def test_both_paths_evaluate_the_same():
    images = batch(NAMES, 3, 32)["img"]
    logits = []
    for path in ("plain", "fast"):
        trainer = build("RESTORE_m", path, NAMES, clip_model("tiny12"))
        trainer.set_model_mode("eval")
        with torch.no_grad():
            logits.append(trainer.model_inference(images))
    assert torch.allclose(*logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", LISTS)
def test_class_names(count):
    names = class_names(count)
    assert len(names) == len(set(names)) == count
    assert all(name == name.strip() and name for name in names)
    ClassPrompts.with_context(names, 4, "a photo of a")  # all fit


def test_only_the_path_named_graph_captures():
    captures = [build("MaPLe", path, NAMES, clip_model("tiny12")).cfg.MODEL.CUDA_GRAPH for path in PATHS]
    assert captures == ["off", "off", "on"]


def test_sentences():
    assert class_names(3) == class_names(500)[:3]
    with pytest.raises(ValueError, match="1 to 1000 classes, not for 1001"):
        class_names(1001)
    with pytest.raises(ValueError, match="'ZeroshotCLIP' is none of MaPLe"):
        build("ZeroshotCLIP", "fast", NAMES, clip_model("tiny12"))
    with pytest.raises(ValueError, match="'slow' is none of plain, fast"):
        build("MaPLe", "slow", NAMES, clip_model("tiny12"))
