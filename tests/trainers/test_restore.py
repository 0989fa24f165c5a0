"""RESTORE in the paper's reading against the equations written out on the plain oracle, and its switches."""

import pytest
import recipe
import torch
from small_clip import clip_model
from torch.nn import functional as F
from trainer_factory import NAMES, batches, configuration, logits, make

from promptclip import plain as oracle
from promptclip.gram_shift import gram_norms
from promptclip.shift import shift_loss
from promptclip.surgery import Alpha

IMAGES = torch.from_numpy(recipe.images(32)[0])
LABELS = torch.arange(8) % 6


def build(weights, folder, name="RESTORE_m", epochs=3, **options):
    depth = {"PROMPT_DEPTH": 5} if name == "RESTORE_m" else {"PROMPT_DEPTH_TEXT": 5, "PROMPT_DEPTH_VISION": 5}
    opts = [item for key, value in (depth | options).items() for item in (f"TRAINER.{name.upper()}.{key}", value)]
    torch.manual_seed(0)
    cfg = configuration(name, weights("tiny12"), 32, folder, opts, epochs)
    return make(cfg, NAMES, batches(IMAGES, LABELS))


def first_step(trainer):
    """What one training step on the first four images shows, the schedule set as in a run."""
    trainer.epoch, trainer.batch_idx, trainer.num_batches = 0, 0, 2
    return trainer.forward_backward(trainer.train_loader_x[0])


def by_hand(trainer, norm, gain=0.1):
    """(ce, fs, alphas) of Eqs. 3-11 on two full passes through clip's own blocks, surgery as a formula."""
    model, learner = clip_model("tiny12"), trainer.learner
    prompts = learner.prompts
    class_prompts = prompts.class_prompts(NAMES, 77)
    image, image_norms, _ = oracle.vision(model, IMAGES[:4], prompts.vision())
    text, text_norms = oracle.text(model, class_prompts, prompts.text())
    if norm == "rms":
        tokens = torch.tensor([len(row) - class_prompts.n_ctx for row in class_prompts.ids])
        image_norms = image_norms / (17 * 128) ** 0.5
        text_norms = text_norms / (tokens * 64).sqrt()
    shift_v, shift_t = image_norms.mean(1), text_norms.mean(1)
    if norm == "relative":
        shift_v, shift_t = shift_v / shift_v.detach(), shift_t / shift_t.detach()
    alphas = [gain, gain]  # the gain makes the first step's alpha exactly this
    for one, name in ((image, "image_surgery"), (text, "text_surgery")):
        s = getattr(learner.corrections, name)
        hidden = F.relu(F.linear(F.layer_norm(one, one.shape[-1:], s.ln.weight, s.ln.bias), s.up.weight, s.up.bias))
        one.data += alphas[0] * F.linear(hidden, s.down.weight, s.down.bias).detach()
    logit = model.logit_scale.exp() * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).t()
    return F.cross_entropy(logit, LABELS[:4]), ((shift_v - shift_t) ** 2).sum(), (shift_v.sum(), shift_t.sum())


@pytest.mark.parametrize("norm", ["fro", "rms", "relative"])
def test_losses_equal_the_equations(weights, tmp_path, norm):
    trainer = build(weights, tmp_path, SHIFT_NORM=norm, SURGERY_ZERO_INIT=False, FS_WEIGHT=2.0)
    ce, fs, sums = by_hand(trainer, norm)
    shown = first_step(trainer)
    assert shown["ce"] == pytest.approx(ce.item(), rel=1e-4)
    assert shown["fs"] == pytest.approx(2 * fs.item(), rel=1e-4, abs=1e-8)
    assert shown["loss"] == pytest.approx(shown["ce"] + shown["fs"], rel=1e-5)
    assert shown["shift_image"] == pytest.approx(sums[0].item(), rel=1e-4)
    assert shown["shift_text"] == pytest.approx(sums[1].item(), rel=1e-4)
    assert shown["alpha_image"] == pytest.approx(0.1) and shown["alpha_text"] == pytest.approx(0.1)
    if norm == "relative":
        assert shown["fs"] < 1e-8  # zero at the first step by construction


def test_gradient_flows_through_both_passes_of_the_shift_loss(weights, tmp_path):
    trainer = build(weights, tmp_path, SURGERY="none")
    prompts, model = trainer.learner.prompts, clip_model("tiny12")
    class_prompts = prompts.class_prompts(NAMES, 77)
    _, v, _ = oracle.vision(model, IMAGES[:4], prompts.vision())
    _, t = oracle.text(model, class_prompts, prompts.text())
    tokens = torch.tensor([len(row) - class_prompts.n_ctx for row in class_prompts.ids])
    loss = ((v.mean(1) / (17 * 128) ** 0.5 - (t / (tokens * 64).sqrt()).mean(1)) ** 2).sum()
    parameters = list(trainer.learner.parameters())
    expected = torch.autograd.grad(loss, parameters)
    output = trainer.learner(trainer.clip, trainer.classes, IMAGES[:4])
    ours = torch.autograd.grad(shift_loss(output, LABELS[:4]), parameters)
    for one, other in zip(ours, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3 * other.abs().max())


def test_alpha_is_a_running_mean_and_starts_where_it_is_told():
    alpha = Alpha(start=0.1, gain=0.0, momentum=0.9)
    alpha.update(torch.tensor([1.0, 3.0]))
    assert alpha.value.item() == pytest.approx(0.1) and alpha.gain.item() == pytest.approx(0.025)
    alpha.update(torch.tensor([2.0, 6.0]))
    assert alpha.value.item() == pytest.approx(0.9 * 0.1 + 0.1 * 0.2)
    explicit = Alpha(start=0.1, gain=0.5, momentum=0.0)
    explicit.update(torch.tensor([0.2, 0.2]))
    assert explicit.value.item() == pytest.approx(0.2)
    norms = torch.ones(2, requires_grad=True)
    explicit.update(norms)
    assert not explicit.value.requires_grad


def test_surgery_arms(weights, tmp_path):
    guided = build(weights, tmp_path / "a")
    fixed = build(weights, tmp_path / "b", SURGERY="fixed", ALPHA_IMAGE=0.3)
    none = build(weights, tmp_path / "c", SURGERY="none")
    assert not any("surgery" in name for name in none.learner.named_learned())
    # W_down starts at zero: all three begin at the uncorrected model
    assert torch.equal(logits(guided, IMAGES), logits(none, IMAGES))
    for trainer in (guided, fixed, none):
        trainer.train()
    assert fixed.learner.corrections.image_alpha.value.item() == pytest.approx(0.3)
    assert guided.learner.corrections.image_alpha.steps.item() == 6
    assert guided.learner.corrections.image_alpha.value.item() != pytest.approx(0.1, abs=1e-9)
    trained = logits(guided, IMAGES)
    guided.learner.corrections.image_alpha.value.fill_(0)
    assert not torch.equal(trained, logits(guided, IMAGES))


def test_guidance_alone_still_measures_shift(weights, tmp_path):
    shown = first_step(build(weights, tmp_path, FS_WEIGHT=0.0))
    assert "fs" not in shown and shown["shift_image"] > 0
    plain = first_step(build(weights, tmp_path / "b", FS_WEIGHT=0.0, SURGERY="fixed"))
    assert "shift_image" not in plain


def test_released_gram_norms():
    prompts = [torch.randn(2, 5) for _ in range(3)]
    expected = [torch.linalg.matrix_norm(p.t() @ p).item() for p in prompts[1:]]
    assert gram_norms(prompts).tolist() == pytest.approx(expected, rel=1e-5)
    assert len(gram_norms(prompts[:1])) == 0


def test_restore_p_scales_the_gaussian_to_its_epochs(weights, tmp_path):
    for epochs, mean in ((10, 7.5), (20, 15.0)):
        average = build(weights, tmp_path, "RESTORE_p", epochs=epochs).learner.average
        assert (average.mean, average.std) == (mean, 1.0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"SHIFT_NORM": "l1"}, "SHIFT_NORM is 'l1'; allowed: fro, rms, relative"),
        ({"VARIANT": "mine"}, "VARIANT is 'mine'; allowed: paper, released"),
        ({"SURGERY": "yes"}, "SURGERY is 'yes'; allowed: none, fixed, fs_guided"),
        ({"FS_WEIGHT": -1.0}, "FS_WEIGHT is -1.0; allowed: number from 0"),
        ({"ALPHA_TEXT": -0.1}, "ALPHA_TEXT is -0.1"),
        ({"ALPHA_MOMENTUM": 1.5}, "ALPHA_MOMENTUM is 1.5"),
        ({"PROMPT_DEPTH": 13}, "PROMPT_DEPTH is 13, but this backbone allows 1 to 12"),
        ({"N_CTX": 0}, "N_CTX is 0; allowed: whole number from 1"),
        ({"N_CTX": 74}, "class name .* holds 77"),
        ({"PREC": "fp8"}, "PREC is 'fp8'; allowed: fp16"),
    ],
)
def test_impossible_options_are_refused(weights, tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(weights, tmp_path, **options)


def test_restore_p_has_no_released_reading(weights, tmp_path):
    with pytest.raises(ValueError, match="RESTORE_p was never released"):
        build(weights, tmp_path, "RESTORE_p", VARIANT="released")


def test_image_size_and_backbone_kind(weights, tmp_path):
    cfg = configuration("RESTORE_m", weights("tiny12"), 224, tmp_path)
    with pytest.raises(ValueError, match=r"INPUT.SIZE is \(224, 224\), but the backbone .* takes images of 32 x 32"):
        make(cfg, NAMES, [])
