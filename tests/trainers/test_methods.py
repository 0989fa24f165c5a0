"""What is particular to single methods, beside the golden numbers and the shared suite."""

import clip.model
import pytest
import recipe
import torch
from small_clip import as_openais
from trainer_factory import NAMES, batches, configuration, logits, make

from promptclip.model import Precision
from trainers.loss_scale import LossScale
from trainers.templates import DEFAULT, dataset_template, tables

IMAGES = torch.from_numpy(recipe.images(32)[0])


def build(name, backbone, folder, size=32, images=IMAGES, epochs=3, dataset="OxfordPets", extra=(), **options):
    from dassl.engine import TRAINER_REGISTRY

    node = TRAINER_REGISTRY.get(name).method.node
    opts = [item for key, value in options.items() for item in (f"TRAINER.{node}.{key}", value)]
    cfg = configuration(name, backbone, size, folder, [*opts, *extra], epochs, dataset)
    return make(cfg, NAMES, batches(images, torch.arange(len(images)) % 6))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """A small ResNet CLIP's weights file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("resnet") / "rn.pt"
    model = clip.model.CLIP(64, 32, (1, 1, 1, 1), 8, None, 77, 49408, 64, 1, 2)
    torch.save(as_openais(model.state_dict()), path)
    return str(path)


@pytest.mark.parametrize("name", ["ZeroshotCLIP", "ZeroshotCLIP2", "CoOp", "CoCoOp", "KgCoOp", "ProGrad", "LPT"])
def test_text_methods_run_on_a_resnet(name, resnet, tmp_path):
    options = {"PROMPT_DEPTH_TEXT": 2} if name == "LPT" else {}
    trainer = build(name, resnet, tmp_path, **options)
    trainer.train() if not name.startswith("Zero") else None
    assert torch.isfinite(logits(trainer, IMAGES)).all()


@pytest.mark.parametrize("name", ["VPT", "IVLP", "MaPLe", "PromptSRC", "RESTORE_m", "RESTORE_p"])
def test_vision_prompts_need_a_vit(name, resnet, tmp_path):
    with pytest.raises(ValueError, match=rf"{name} prompts the vision tower and needs a ViT backbone .* is a ResNet"):
        build(name, resnet, tmp_path)


def test_prograd_never_steps_against_the_teacher(weights, tmp_path):
    trainer = build("ProGrad", weights("tiny12"), tmp_path, N_CTX=2)
    parameter = trainer.learner.prompts.ctx
    x = parameter.detach().clone()
    steps = []
    for ours, theirs in (((1.0, 1.0), (1.0, 0.0)), ((-1.0, 1.0), (1.0, 0.0))):
        directions = [torch.zeros_like(x).flatten() for _ in range(2)]
        for vector, values in zip(directions, (ours, theirs), strict=True):
            vector[:2] = torch.tensor(values)
        losses = {
            key: (parameter.flatten() * d).sum() for key, d in zip(("xe_loss", "kl_loss"), directions, strict=True)
        }
        trainer.learner.gradients(losses, [parameter], lambda loss: loss)
        trainer.apply_gradients()
        steps.append(parameter.grad.flatten()[:2].tolist())
    assert steps[0] == pytest.approx([1.0, 1.0])  # they agree: plain gradient
    assert steps[1] == pytest.approx([0.0, 1.0])  # they conflict: the part against the teacher is gone


def test_promptsrc_ends_on_the_gaussian_average(weights, tmp_path):
    trainer = build("PromptSRC", weights("tiny12"), tmp_path, GPA_MEAN=2, PROMPT_DEPTH_TEXT=2, PROMPT_DEPTH_VISION=2)
    history = []

    class Watch:
        def epoch_ends(self, trainer):
            history.append(trainer.learner.prompts.ctx.detach().clone())

    trainer.listeners.append(Watch())
    trainer.train()
    density = torch.distributions.Normal(2.0, 1.0).log_prob(torch.tensor([1.0, 2.0, 3.0])).exp()
    expected = sum(weight * ctx for weight, ctx in zip(density / density.sum(), history, strict=True))
    assert torch.allclose(trainer.learner.prompts.ctx, expected, atol=1e-6)


def test_coop_reads_its_length_from_the_words(weights, tmp_path):
    trainer = build("CoOp", weights("tiny12"), tmp_path, CTX_INIT="a_photo_of_a", N_CTX=16)
    assert trainer.learner.prompts.ctx.shape == (4, 64)
    with pytest.raises(ValueError, match="leave CTX_INIT empty or CSC False"):
        build("CoOp", weights("tiny12"), tmp_path, CTX_INIT="a photo", CSC=True)
    with pytest.raises(ValueError, match="CLASS_TOKEN_POSITION is 'back'; allowed: end, middle, front"):
        build("CoOp", weights("tiny12"), tmp_path, CLASS_TOKEN_POSITION="back")


def test_independent_prompts_need_a_prompt(weights, tmp_path):
    with pytest.raises(ValueError, match="No tower has prompts"):
        build("LPT", weights("tiny12"), tmp_path, N_CTX_TEXT=0)
    with pytest.raises(ValueError, match="PROMPT_DEPTH_TEXT is 13, but this backbone allows 0 to 12"):
        build("IVLP", weights("tiny12"), tmp_path, PROMPT_DEPTH_TEXT=13)
    with pytest.raises(ValueError, match="PromptSRC prompts both towers"):
        build("PromptSRC", weights("tiny12"), tmp_path, N_CTX_VISION=0)
    half = build("IVLP", weights("tiny12"), tmp_path, N_CTX_TEXT=0, PROMPT_DEPTH_VISION=2)
    assert set(half.learner.state_dict()) == {"vision_ctx", "vision_deep.0"}
    half.train()


def test_zero_shot_has_nothing_to_train(weights, tmp_path, capsys):
    trainer = build("ZeroshotCLIP", weights("tiny12"), tmp_path)
    tested = []
    trainer.test = lambda: tested.append(1)
    trainer.train()
    assert tested and "nothing to train" in capsys.readouterr().out


def test_templates():
    assert len(tables()["promptsrc_60"]) == 60 and len(tables()["imagenet_80"]) == 80
    assert all("{}" in template for key in ("select_7", "promptsrc_60", "imagenet_80") for template in tables()[key])
    assert all("{}" in template for key in ("dataset", "generic") for template in tables()[key].values())
    assert dataset_template("Unheard") == DEFAULT != dataset_template("DescribableTextures")
    assert dataset_template("Unheard", "a sketch of a {}.") == "a sketch of a {}."
    with pytest.raises(ValueError, match="has no {} where the class name goes"):
        dataset_template("Unheard", "a sketch")


@pytest.mark.parametrize("name", ["fp16", "amp"])
def test_half_precision_without_cuda_says_what_it_does(name, capsys):
    precision = Precision(name, torch.device("cpu"))
    assert precision.name == "fp32" and precision.autocast is None
    assert capsys.readouterr().out == f"PREC {name} needs CUDA, and this run has none: computing in fp32.\n"


def test_bf16_is_refused_before_ampere(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(ValueError, match="bf16 needs .* Ampere or later; Tesla T4 does not: use fp16 or amp"):
        Precision("bf16", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    assert Precision("bf16", torch.device("cuda")).autocast == torch.bfloat16


def test_bf16_trains_near_fp32(weights, tmp_path):
    results = []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(0)
        trainer = build("MaPLe", weights("tiny12"), tmp_path / precision, PREC=precision, PROMPT_DEPTH=3)
        trainer.train()
        results.append(logits(trainer, IMAGES))
        assert all(parameter.dtype == torch.float32 for parameter in trainer.learner.parameters())
    assert 0 < (results[0] - results[1]).abs().max() < 0.5


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["fp16", "amp", "bf16", "fp32"])
def test_precisions_on_a_gpu(name, weights, tmp_path):
    results = []
    for precision in ("fp32", name):
        torch.manual_seed(0)
        extra = ["USE_CUDA", True]
        trainer = build("RESTORE_m", weights("tiny12"), tmp_path / precision, extra=extra, PREC=precision)
        assert trainer.clip.device.type == "cuda" and trainer.precision_name == precision
        trainer.train()
        results.append(logits(trainer, IMAGES.to(trainer.device)).cpu())
    assert (results[0] - results[1]).abs().max() < 0.5


def test_prograd_trains_with_a_gradient_scaler_as_without(weights, tmp_path):
    """What PREC amp does on a GPU, as far as a CPU goes: losses scaled, gradients unscaled before the step."""
    results = []
    for scaler in (None, LossScale.of("amp", "cpu")):
        torch.manual_seed(0)
        trainer = build("ProGrad", weights("tiny12"), tmp_path / str(scaler is None), N_CTX=2)
        trainer.scaler = scaler
        trainer.train()
        results.append(trainer.learner.prompts.ctx.detach().clone())
    assert scaler.value == 2.0**10 and scaler.clean == 6  # no step was skipped
    assert torch.allclose(*results, rtol=1e-4, atol=1e-6)
    torch.manual_seed(0)
    assert not torch.allclose(results[0], build("ProGrad", weights("tiny12"), tmp_path, N_CTX=2).learner.prompts.ctx)


def test_prograd_skips_a_step_that_overflows(weights, tmp_path):
    trainer = build("ProGrad", weights("tiny12"), tmp_path, N_CTX=2, epochs=1)
    trainer.scaler = LossScale.of("amp", "cpu")
    trainer.scaler.tensor.fill_(1e38)
    before = trainer.learner.prompts.ctx.detach().clone()
    trainer.epoch, trainer.batch_idx, trainer.num_batches = 0, 0, 2
    trainer.forward_backward(trainer.train_loader_x[0])
    assert torch.equal(before, trainer.learner.prompts.ctx) and trainer.scaler.value == 2.0**9


def test_taskres_takes_its_reference_s_scale_on_flowers(weights, tmp_path):
    for dataset, options, scale in (
        ("OxfordFlowers", {}, 1.0),
        ("OxfordPets", {}, 0.5),
        ("OxfordFlowers", {"FLOWERS_SCALE": 0.7}, 0.7),
    ):
        trainer = build("TaskRes", weights("tiny12"), tmp_path / f"{dataset}{scale}", dataset=dataset, **options)
        assert trainer.learner.corrections.settings()["scale"] == scale
