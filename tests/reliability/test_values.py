"""Values that cannot be right are refused before any image is read; broken images are named, or counted on request."""

import json
import re

import pytest
import small_run

from runs.command_line import build_parser
from runs.config import build_config, check_names, check_places, check_values
from train import sentence

MODEL = "VLPromptLearner"


class NoImages:
    """Called in a run's process: reading an image ends it with a code that nothing else has."""

    def __call__(self):
        import os

        from dassl.utils import images

        images.read_image = lambda path: os._exit(99)


def refusal(command, tmp_path, *options):
    """The sentence with which train.py refuses the options, without having read an image."""
    argv = [*command, "--output-dir", str(tmp_path / "out"), *options]
    code, printed = small_run.run(argv, tmp_path / "printed", NoImages())
    assert code == 2, printed
    (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in printed
    return line


def test_the_images_would_be_read_otherwise(command, tmp_path):
    code, _ = small_run.run([*command, "--output-dir", str(tmp_path / "out")], tmp_path / "printed", NoImages())
    assert code == 99


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("DATASET.NUM_SHOTS", "-2"), r"NUM_SHOTS is -2; allowed are 1 and more, or -1 for all"),
        (("DATASET.NUM_SHOTS", "0"), r"NUM_SHOTS is 0; allowed"),
        (("DATALOADER.TRAIN_X.BATCH_SIZE", "0"), r"BATCH_SIZE is 0; allowed is 1 or more"),
        (("OPTIM.LR", "-0.1"), r"OPTIM.LR is -0.1; allowed is 0 to"),
        (("OPTIM.LR", "1e999"), r"OPTIM.LR is inf; allowed is 0 to"),
        (("OPTIM.MAX_EPOCH", "0"), r"MAX_EPOCH is 0; allowed is 1 to"),
        (("OPTIM.WARMUP_EPOCH", "9"), r"WARMUP_EPOCH is 9, but OPTIM.MAX_EPOCH only 4; allowed is -1 \(none\) to 4"),
        (("DATALOADER.NUM_WORKERS", "-1"), r"NUM_WORKERS is -1; allowed is 0 to"),
        (("INPUT.SIZE", "(32,)"), r"INPUT.SIZE is \(32,\); it must have 2 entries"),
        (("INPUT.SIZE", "('a', 2)"), r"INPUT.SIZE is \('a', 2\); allowed is 1 to"),
        (("INPUT.SIZE", "[[1], 2]"), r"INPUT.SIZE is .*; allowed is 1 to"),
        (("SEED", "-7"), r"SEED is -7; allowed is -1 to"),
        (("TRAIN.PRINT_FREQ", "0"), r"PRINT_FREQ is 0; allowed is 1 or more"),
        (("OPTIM.MAX_EPOCH", "2.5"), r"OPTIM.MAX_EPOCH .* must be of type int"),
        (("DATALOADER.NUM_WORKERS", "100000"), r"NUM_WORKERS is 100000; allowed is 0 to 256"),
        (("DATALOADER.TEST.NUM_WORKERS", "100000"), r"NUM_WORKERS is 100000; allowed is -1 to 256"),
        (("INPUT.PIXEL_STD", "[0.0, 0.0, 0.0]"), r"PIXEL_STD is \[0.0, 0.0, 0.0\]; allowed is 1e-06 to"),
        (("INPUT.PIXEL_MEAN", "['a', 'b', 'c']"), r"PIXEL_MEAN is \['a', 'b', 'c'\]; allowed is -1000 to"),
        (("INPUT.PIXEL_MEAN", "[1e999, 0, 0]"), r"PIXEL_MEAN is \[inf, 0, 0\]; allowed"),
        (("INPUT.RRCROP_SCALE", "(1.0, 0.5)"), r"RRCROP_SCALE is \(1.0, 0.5\); it must be the least and the greatest"),
        (("INPUT.RRCROP_SCALE", "(0.0, 0.0)"), r"RRCROP_SCALE is \(0.0, 0.0\); it must be"),
        (("INPUT.NO_TRANSFORM", "True"), r"NO_TRANSFORM is True, .*; set it False"),
        (("INPUT.GB_K", "4"), r"GB_K is 4; the size of a blur is odd"),
        (("INPUT.TRANSFORMS", "('random_flip',)"), r"INPUT.TRANSFORMS is .*without normalize.*--config-file"),
        (("DATALOADER.K_TRANSFORMS", "2"), r"K_TRANSFORMS is 2, but RESTORE_p takes 1 of an image"),
        (("MODEL.CHECKPOINTING", "maybe"), r"choice of MODEL.CHECKPOINTING 'maybe'.* known are auto, off, on"),
        (("OPTIM.GAMMA", "-1.0"), r"OPTIM.GAMMA is -1.0; allowed is 0 to 1"),
        (("OPTIM.STEPSIZE", "('a',)"), r"OPTIM.STEPSIZE is \('a',\); allowed"),
        (("OPTIM.ADAM_BETA1", "1.0"), r"OPTIM.ADAM_BETA1 is 1.0; allowed"),
        (("OUTPUT_DIR", " "), r"OUTPUT_DIR is empty; name the directory"),
        (("INPUT.SIZE", "None"), r"INPUT.SIZE in the command line has no value; give it one such as \(32, 32\)"),
        (("DATASET.NUM_SHOTS", "None"), r"DATASET.NUM_SHOTS in the command line has no value"),
        (("TEST.NO_TEST", "None"), r"TEST.NO_TEST in the command line has no value"),
        (
            ("DATALOADER.TEST.SAMPLER", "RandomClassSampler"),
            r"TEST.SAMPLER .RandomClassSampler.*known are Random",
        ),
        (("TRAIN.COUNT_ITER", "x"), r"choice of TRAIN.COUNT_ITER 'x'"),
        (("OPTIM.MAXEPOCH", "2"), r"did you mean OPTIM.MAX_EPOCH\?"),
    ],
)
def test_before_anything_is_built(command, tmp_path, options, expected):
    args = build_parser("").parse_args([*command, "--output-dir", str(tmp_path / "out"), *options])
    with pytest.raises((ValueError, KeyError)) as caught:
        cfg = build_config(args)
        check_names(cfg)
        check_values(cfg)
        check_places(cfg)
    assert re.search(expected, sentence(caught.value)), sentence(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("INPUT.SIZE", "(64, 64)"), r"takes images of 32 x 32: set INPUT.SIZE"),
        (("TRAINER.RESTORE_P.PROMPT_DEPTH_TEXT", "3"), r"PROMPT_DEPTH_TEXT is 3, but this backbone allows 0 to 2"),
        (
            ("TRAINER.RESTORE_P.N_CTX_TEXT", "76"),
            r"n_ctx is 76, but CLIP's prompt of 77 positions has room for 0 to 74",
        ),
        (("TRAINER.RESTORE_P.N_CTX_TEXT", "73"), r"class name .* needs \d+ tokens .* but CLIP's prompt holds 77"),
        (("DATALOADER.TRAIN_X.BATCH_SIZE", "16"), r"BATCH_SIZE is 16, .*has 15 images .*allowed is 1 to 15"),
        (("DATASET.NUM_SHOTS", "-2"), r"NUM_SHOTS is -2"),
    ],
)
def test_before_an_image_is_read(command, tmp_path, options, expected):
    assert re.search(expected, refusal(command, tmp_path, *options))
    assert not list((tmp_path / "out").glob("*.json"))


# ---- broken images ----


@pytest.fixture
def damaged(tmp_path):
    """A run of its own, with one training and two test images broken."""
    command = small_run.prepare(tmp_path / "run")
    for name in ("1_3.png", "0_6.png", "2_7.png"):
        path = tmp_path / "run" / "data" / name
        path.write_bytes(path.read_bytes()[:100])
    return command


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_broken_training_image_is_named(damaged, tmp_path, workers):
    argv = [*damaged, "--output-dir", str(tmp_path / "out"), "DATASET.NUM_SHOTS", "-1"]
    code, printed = small_run.run([*argv, "DATALOADER.NUM_WORKERS", workers], tmp_path / "printed")
    assert code == 1 and "Traceback" not in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert line.startswith(f'error: ValueError: The image "{tmp_path / "run" / "data" / "1_3.png"}" cannot be read')


def test_broken_test_images_are_counted_on_request(damaged, whole, tmp_path):
    argv = [*damaged, "--output-dir", str(tmp_path / "out"), "--eval-only", "--model-dir", str(whole)]
    argv += ["--load-epoch", "4", "MODEL.BACKBONE.NAME", str(tmp_path / "run" / "clip.pt")]
    code, printed = small_run.run(argv, tmp_path / "printed")
    assert code == 1 and "0_6.png" in printed and "accuracy" not in printed.split("Evaluate on")[1]
    code, printed = small_run.run([*argv, "TEST.SKIP_BROKEN", "True"], tmp_path / "printed")
    assert code == 2 and "SKIP_BROKEN: False -> True" in printed  # the directory belongs to the run without it
    argv[argv.index("--output-dir") + 1] = str(tmp_path / "skipping")
    code, printed = small_run.run([*argv, "TEST.SKIP_BROKEN", "True"], tmp_path / "printed")
    assert code == 0, printed
    assert "* skipped: 2 broken images, which count nowhere" in printed
    assert "0_6.png" in printed and "2_7.png" in printed and "* total: 4" in printed
    found = json.loads((tmp_path / "skipping/metrics.json").read_text())
    assert (found["broken_images"], found["total"]) == (2, 4)


# ---- the learnable part ----


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ("--trainer", "RESTORE_m", "TRAINER.RESTORE_M.PROMPT_DEPTH", "2"),
            r"There is no checkpoint .*VLPromptLearner",
        ),
        (("TRAINER.RESTORE_P.N_CTX_VISION", "3"), r"vision_ctx is \(4, 64\) where this run has \(3, 64\)"),
    ],
)
def test_no_accuracy_from_a_model_that_was_not_loaded(command, whole, tmp_path, options, expected):
    argv = [*command, "--output-dir", str(tmp_path / "out"), "--eval-only", "--model-dir", str(whole)]
    code, printed = small_run.run([*argv, "--load-epoch", "4", *options], tmp_path / "printed")
    assert code == 2 and re.search(expected, printed), printed
    assert "* accuracy" not in printed
