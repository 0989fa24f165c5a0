"""Options of every method: typed, checked before anything is read, documented; what has no effect is refused."""

import pytest
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from trainer_factory import configuration

import trainers  # noqa: F401  (registers them)

KINDS = [TRAINER_REGISTRY.get(name) for name in TRAINER_REGISTRY.registered_names()]
METHODS = [kind.method for kind in KINDS if hasattr(kind, "method")]
OPTIONS = [pytest.param(method, name, id=f"{method.name}-{name}") for method in METHODS for name in method.options]
NUMBERS = [case for case in OPTIONS if type(case.values[0].options[case.values[1]].default) in (int, float)]


def with_value(method, **values):
    """The method's node with some options changed, past yacs's own checks."""
    options = method.defaults()
    options.update(values)
    return options


@pytest.mark.parametrize(("method", "name"), OPTIONS)
def test_none_and_wrong_types_are_refused_by_name(method, name):
    wrong = {bool: 1, int: "2", float: "much", str: 3}[type(method.options[name].default)]
    for value in (None, wrong, [1]):
        with pytest.raises(ValueError, match=f"TRAINER.{method.node}.{name} is .*; allowed: "):
            method.check_options(with_value(method, **{name: value}))


@pytest.mark.parametrize(("method", "name"), NUMBERS)
def test_numbers_out_of_range_are_refused(method, name):
    option = method.options[name]
    beyond = [float("nan"), float("inf")]
    beyond += [option.low - 1] if option.low > float("-inf") else []
    beyond += [option.above] if option.above > float("-inf") else []
    beyond += [option.high + 1] if option.high < float("inf") else []
    for value in beyond:
        kind = type(option.default) if value == value and abs(value) < float("inf") else float
        with pytest.raises(ValueError, match=f"{name} is .*; allowed: "):
            method.check_options(with_value(method, **{name: kind(value)}))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_defaults_are_allowed_and_every_option_is_documented(method):
    method.check_options(method.defaults())
    reference = method.describe()
    for name, option in method.options.items():
        assert f"TRAINER.{method.node}.{name} " in reference and repr(option.default) in reference
        assert option.help and len(option.help) < 130


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("ProGrad", "T", -1.0),
        ("ProGrad", "LAMBDA", float("inf")),
        ("KgCoOp", "W", -0.5),
        ("PromptSRC", "TEXT_LOSS_WEIGHT", -25),
        ("PromptSRC", "GPA_STD", 0),
    ],
)
def test_what_was_accepted_in_silence_is_refused(name, option, value):
    method = TRAINER_REGISTRY.get(name).method
    with pytest.raises(ValueError, match=f"TRAINER.{method.node}.{option} is {value}"):
        method.check_options(with_value(method, **{option: value}))


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("RESTORE_m", {"VARIANT": "released", "SURGERY_ACT": "quickgelu"}, "SURGERY_ACT .* VARIANT released does not"),
        ("RESTORE_m", {"VARIANT": "released", "SURGERY_ZERO_INIT": False}, "SURGERY_ZERO_INIT .* VARIANT released"),
        ("RESTORE_m", {"VARIANT": "released", "SHIFT_NORM": "fro"}, "SHIFT_NORM .* VARIANT released does not use it"),
        ("RESTORE_m", {"VARIANT": "released", "GAMMA": 0.1}, "GAMMA .* VARIANT released does not use it"),
        ("RESTORE_m", {"VARIANT": "released", "BETA": 0.1}, "BETA .* VARIANT released does not use it"),
        ("RESTORE_m", {"VARIANT": "released", "ALPHA_MOMENTUM": 0.5}, "ALPHA_MOMENTUM .* VARIANT released"),
        ("RESTORE_p", {"SURGERY": "none", "ALPHA_TEXT": 0.2}, "ALPHA_TEXT .* SURGERY none does not use it"),
        ("RESTORE_p", {"SURGERY": "fixed", "GAMMA": 0.2}, "GAMMA .* SURGERY fixed does not use it"),
        (
            "RESTORE_m",
            {"SURGERY": "fixed", "FS_WEIGHT": 0.0, "SHIFT_NORM": "fro"},
            "SHIFT_NORM .* no shift is measured",
        ),
        ("IVLP", {"SHIFT_NORM": "fro"}, "SHIFT_NORM .* without L.fs"),
    ],
)
def test_an_option_without_effect_is_refused(name, values, sentence):
    method = TRAINER_REGISTRY.get(name).method
    with pytest.raises(ValueError, match=sentence):
        method.check_options(with_value(method, **values))


def test_the_node_and_its_checks_come_from_the_options(weights, tmp_path):
    cfg = get_cfg_default()
    TRAINER_REGISTRY.get("MaPLe").extend_cfg(cfg)
    assert dict(cfg.TRAINER.MAPLE) == {"N_CTX": 2, "CTX_INIT": "a photo of a", "PREC": "fp16", "PROMPT_DEPTH": 9}
    cfg = configuration("MaPLe", weights("tiny4"), 32, tmp_path, ["TRAINER.MAPLE.N_CTX", None])
    with pytest.raises(ValueError, match="TRAINER.MAPLE.N_CTX is None; allowed: whole number from 1"):
        TRAINER_REGISTRY.get("MaPLe")(cfg)  # before data and backbone are looked for
