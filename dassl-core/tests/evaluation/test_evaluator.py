"""What the evaluator prints, to the letter, and returns."""

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.evaluation import EVALUATOR_REGISTRY, Classification, build_evaluator
from torch.nn import functional as F

NAMES = {0: "ant", 1: "bee", 2: "cat"}


def _evaluator(predictions, labels, **settings):
    cfg = get_cfg_default()
    cfg.VERBOSE = False
    for key, value in settings.items():
        if key == "OUTPUT_DIR":
            cfg.OUTPUT_DIR = value
        else:
            cfg.TEST[key] = value
    evaluator = build_evaluator(cfg, lab2cname=NAMES)
    for p, y in zip(predictions, labels, strict=True):
        evaluator.process(F.one_hot(torch.tensor(p), 3).float(), torch.tensor(y))
    return evaluator


def test_the_text_to_the_letter(capsys):
    evaluator = _evaluator([[0, 0, 1], [2, 1]], [[0, 0, 1], [0, 2]], PER_CLASS_RESULT=True)
    results = evaluator.evaluate()
    assert capsys.readouterr().out == (
        "=> result\n* total: 5\n* correct: 3\n* accuracy: 60.0%\n* error: 40.0%\n* macro_f1: 48.9%\n"
        "=> per-class result\n"
        "* class: 0 (ant)\ttotal: 3\tcorrect: 2\tacc: 66.7%\n"
        "* class: 1 (bee)\ttotal: 1\tcorrect: 1\tacc: 100.0%\n"
        "* class: 2 (cat)\ttotal: 1\tcorrect: 0\tacc: 0.0%\n"
        "* average: 55.6%\n"
    )
    # F1 by hand: ant 2*2/(2+3), bee 2*1/(2+1), cat 0
    assert results["macro_f1"] == pytest.approx(100 * (4 / 5 + 2 / 3 + 0) / 3)
    assert list(results) == ["accuracy", "error_rate", "macro_f1", "perclass_accuracy"]
    assert results["accuracy"] == 60.0


def test_thousands_have_separators(capsys):
    evaluator = _evaluator([[0] * 3669], [[0] * 3400 + [1] * 269])
    evaluator.evaluate()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == ["* total: 3,669", "* correct: 3,400", "* accuracy: 92.7%"]


def test_a_class_that_is_only_predicted_counts_for_no_f1():
    results = _evaluator([[0, 2]], [[0, 0]]).evaluate()
    assert results["macro_f1"] == pytest.approx(100 * 2 / 3)


def test_reset_forgets():
    evaluator = _evaluator([[0, 1]], [[1, 0]])
    evaluator.reset()
    evaluator.process(torch.eye(3), torch.arange(3))
    assert evaluator.evaluate()["accuracy"] == 100.0


def test_the_confusion_matrix_is_saved(tmp_path, capsys):
    evaluator = _evaluator([[0, 1, 1, 2]], [[0, 0, 1, 1]], COMPUTE_CMAT=True, OUTPUT_DIR=str(tmp_path / "out"))
    evaluator.evaluate()
    matrix = torch.load(tmp_path / "out" / "cmat.pt", weights_only=True)
    assert matrix.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 0.0]]
    assert f"Confusion matrix is saved to {tmp_path / 'out' / 'cmat.pt'}" in capsys.readouterr().out


def test_nothing_to_evaluate_and_missing_names_get_a_sentence():
    with pytest.raises(ValueError, match="nothing to evaluate"):
        _evaluator([], []).evaluate()
    cfg = get_cfg_default()
    cfg.TEST.PER_CLASS_RESULT = True
    with pytest.raises(ValueError, match="lab2cname"):
        Classification(cfg)


def test_an_unknown_evaluator_gets_the_nearest():
    cfg = get_cfg_default()
    cfg.TEST.EVALUATOR = "Clasification"
    with pytest.raises(KeyError, match='did you mean "Classification"'):
        build_evaluator(cfg)
    assert "Classification" in EVALUATOR_REGISTRY
