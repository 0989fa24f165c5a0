"""The scripts for transfer, as users start them: trained on ImageNet's tiny tree, tested on others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from trees import NAMES, plant

from datasets.prepare.catalogue import choose

REPOSITORY = Path(__file__).parents[2]
CROSS_DATASET = ["caltech101", "oxford_pets", "stanford_cars", "oxford_flowers", "food101", "fgvc_aircraft", "sun397"]
CROSS_DATASET += ["dtd", "eurosat", "ucf101"]
CROSS_DOMAIN = ["imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r"]
QUICK = {"oxford_pets", "imagenet_a"}


@pytest.fixture(scope="module")
def script(weights, tmp_path_factory):
    """script("xd_test.sh", dataset) -> its record, metrics.json, after the run of RESTORE_m on a small backbone."""
    root, output = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("output")
    for name in NAMES:
        plant(name, root)
    environment = os.environ | {"DATA": str(root), "OUTPUT": str(output), "PYTHON": sys.executable}
    environment |= {"SHOTS": "1", "EPOCHS": "1", "OMP_NUM_THREADS": "1"}
    options = ["MODEL.BACKBONE.NAME", weights("tiny12"), "INPUT.SIZE", "(32,32)", "TRAINER.RESTORE_M.PREC", "fp32"]
    options += ["DATALOADER.NUM_WORKERS", "0", "USE_CUDA", "False"]

    def run(file, dataset, **more):
        command = ["bash", str(REPOSITORY / "scripts/restore" / file), dataset, "1", *options]
        done = subprocess.run(command, env=environment | more, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        return [json.loads(path.read_text()) for path in output.rglob(f"{dataset}/**/metrics.json")][-1]

    return run


@pytest.fixture(scope="module")
def source(script):
    """ImageNet, trained on."""
    return script("xd_train.sh", "imagenet")


def test_the_source_is_trained_on(source):
    assert (source["dataset"], source["complete"], source["shots"]) == ("ImageNet", True, 1)
    assert source["total"] == 12  # the validation images


@pytest.mark.parametrize(
    "target",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CROSS_DATASET + CROSS_DOMAIN],
)
def test_transfer(target, source, script):
    record = script("xd_test.sh", target)
    assert record["complete"] and record["seed"] == 1 and record["subsample_classes"] == "all"
    assert record["dataset"] == choose(target).__name__ and record["mode"] == "eval"
    assert record["total"] > 0 and 0 <= record["accuracy"] <= 100


@pytest.mark.slow
def test_few_shots(script):
    assert script("fewshot.sh", "eurosat", SHOTS="1 2")["shots"] in (1, 2)
