"""The method that docs/add-a-method.md walks through: written to a file as it stands there, it passes the suite."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
from behaviour import CHECKS
from dassl.engine import TRAINER_REGISTRY

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "add-a-method.md").read_text()


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL).group(1)


@pytest.fixture(scope="module")
def method(tmp_path_factory):
    """The documented file, imported once as trainers/__init__.py would import it."""
    path = tmp_path_factory.mktemp("method") / "anchored.py"
    path.write_text(block("python"))
    spec = importlib.util.spec_from_file_location("trainers.anchored", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield "AnchoredCoOp"
    del sys.modules[spec.name]


@pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])
def test_the_documented_method_passes_the_shared_suite(method, check, weights, tmp_path):
    check((method, method, {}), weights, tmp_path)


def test_the_documented_yaml_is_a_configuration(method, tmp_path):
    from runs.config import default_config, merge_file

    folder = ROOT / "configs" / "trainers"
    path = tmp_path / "emojiclip.yaml"
    path.write_text(block("yaml").replace("../", f"{folder}/"))
    cfg = default_config()
    merge_file(cfg, path)
    assert cfg.TRAINER.ANCHORED.PULL == 0.5 and cfg.MODEL.BACKBONE.NAME == "EmojiCLIP"
    assert TRAINER_REGISTRY.get(method).method.node == "ANCHORED"


def test_the_documented_parts_are_those_that_there_are():
    import inspect

    from promptclip.learner import PromptLearner

    table = TEXT[TEXT.index("| argument |") : TEXT.index("A loss, a teacher")]
    documented = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert documented == list(inspect.signature(PromptLearner).parameters)
