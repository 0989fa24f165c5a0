"""Every yaml file merges, opens with its launch command, and asks for a trainer and a script that exist."""

import re
from pathlib import Path

import pytest
from dassl.engine import TRAINER_REGISTRY

from runs.config import default_config, merge_file
from trainers import optimisation

ROOT = Path(__file__).parents[1]
PROMPTS = ("CoOp", "CoCoOp", "KgCoOp", "ProGrad", "LPT", "VPT", "IVLP", "MaPLe", "PromptSRC")
METHODS = sorted((ROOT / "configs" / "trainers").glob("*/*.yaml"))


@pytest.mark.parametrize("path", METHODS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_method_configuration(path):
    cfg = default_config()
    merge_file(cfg, path)
    assert path.parent.name in TRAINER_REGISTRY.registered_names()
    first = path.read_text().splitlines()[0]
    script = re.search(r"bash (scripts/\w+/\w+\.sh)", first)
    assert first.startswith("# ") and script and (ROOT / script.group(1)).is_file()
    embedded = cfg.MODEL.BACKBONE.NAME == "EmojiCLIP"
    assert tuple(cfg.INPUT.SIZE) == ((64, 64) if embedded else (224, 224))
    trainer = TRAINER_REGISTRY.get(path.parent.name)
    trainer.check_options(cfg)
    optimisation.check(cfg.OPTIM)
    assert trainer.method.views == cfg.DATALOADER.K_TRANSFORMS
    if trainer.method.learns:
        assert cfg.OPTIM.LR_SCHEDULER == "cosine"
    if path.parent.name in (*PROMPTS, "RESTORE_m", "RESTORE_p"):
        assert cfg.OPTIM.NAME == "sgd" and cfg.OPTIM.WARMUP_EPOCH == 1


def test_every_trainer_has_configurations():
    trainers = {name for name in TRAINER_REGISTRY.registered_names() if hasattr(TRAINER_REGISTRY.get(name), "method")}
    assert {path.parent.name for path in METHODS if path.stem == "emojiclip"} >= trainers - {"AnchoredCoOp"}


def test_base_must_not_lead_back(tmp_path):
    (tmp_path / "a.yaml").write_text("BASE: b.yaml\n")
    (tmp_path / "b.yaml").write_text("BASE: a.yaml\n")
    with pytest.raises(ValueError, match="does not lead back"):
        merge_file(default_config(), tmp_path / "a.yaml")


def test_base_must_exist(tmp_path):
    (tmp_path / "a.yaml").write_text("BASE: nowhere.yaml\n")
    with pytest.raises(FileNotFoundError, match="nowhere.yaml"):
        merge_file(default_config(), tmp_path / "a.yaml")
