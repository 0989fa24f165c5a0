"""Every method on a CLIP that is not OpenAI's: sizes are read from the model, and the fast towers equal the plain."""

import pytest
import torch
from behaviour import ENTRIES, RESOLUTION, build, data
from dassl.engine import TRAINER_REGISTRY
from open_clip_models import as_folder, random_model, shrunk
from trainer_factory import logits

from promptclip.plain import PlainCLIP

open_clip = pytest.importorskip("open_clip")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """ViT-H/14's habits: GELU, heads of 80, perceptrons of their own; widths that occur nowhere else."""
    config = shrunk(open_clip.get_model_config("ViT-H-14"), blocks=4)
    config["vision_cfg"] |= {"image_size": RESOLUTION, "patch_size": 16, "mlp_ratio": 3.2}
    config["text_cfg"] |= {"context_length": 77}
    folder = as_folder(random_model(config), config, tmp_path_factory.mktemp("open_clip") / "model")
    return lambda geometry: f"open_clip:{folder}"


@pytest.mark.parametrize("precision", ["fp16", "amp", "bf16"])
def test_trains_in_half_precision(precision, backbone, tmp_path, anywhere):
    found = []
    for name in ("fp32", precision):
        entry = ("MaPLe", "MaPLe", {"PREC": name})
        trainer = build(entry, backbone, tmp_path / name, epochs=2)
        trainer.train()
        found.append(logits(trainer, data()[1]).float())
    assert (found[0] - found[1]).abs().max() < 0.05 * found[0].abs().max() + 0.05


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry[0]) for entry in ENTRIES])
def test_trains_and_is_exact(entry, backbone, tmp_path):
    trainer = build(entry, backbone, tmp_path, epochs=2)
    images = data()[1]
    if TRAINER_REGISTRY.get(entry[1]).method.learns:
        trainer.train()
    fast = logits(trainer, images)
    assert torch.isfinite(fast).all()
    if trainer.learner.prompts.per_image:
        return  # the plain towers take one context (tests/promptclip/test_towers.py has many)
    trainer.clip = PlainCLIP(trainer.backbone)
    trainer._take(trainer.learner)
    assert (fast - logits(trainer, images)).abs().max() < 1e-4 * max(1.0, float(fast.abs().max()))
