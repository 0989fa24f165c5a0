"""Each of the fifteen in its real layout: lists, samples, class subsets, and a short training on them."""

import json
from pathlib import Path

import pytest
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import build_trainer
from dassl.utils import set_random_seed
from trees import NAMES, plant

from runs.config import default_config, merge_file

CONFIGS = Path(__file__).parents[2] / "configs" / "datasets"
FILES = {path.stem: path for path in CONFIGS.glob("*.yaml")}
TEST_ONLY = {"ImageNetV2", "ImageNetSketch", "ImageNetA", "ImageNetR"}
# train, val, test of the tiny trees: rule P halves 8 into 4 / 2 / 2, rule T 5 into 4 / 1
SIZES = dict.fromkeys(["Caltech101", "DescribableTextures", "EuroSAT", "Food101", "OxfordFlowers"], (16, 8, 8))
SIZES |= dict.fromkeys(["OxfordPets", "SUN397", "UCF101"], (16, 4, 12))
SIZES |= {"StanfordCars": (24, 8, 32), "FGVCAircraft": (12, 12, 12), "ImageNet": (32, 12, 12)}
SIZES |= {"ImageNetV2": (12, 0, 12), "ImageNetSketch": (12, 0, 12), "ImageNetA": (6, 0, 6), "ImageNetR": (6, 0, 6)}


def sizes(dataset):
    return len(dataset.train_x), len(dataset.val or ()), len(dataset.test)


@pytest.mark.parametrize("name", NAMES)
def test_whole_lists(name, load, tmp_path):
    made = load(name, plant(name, tmp_path), shots=-1)
    assert sizes(made) == SIZES[name]
    assert made.classnames == NAMES[name]
    assert made.num_classes == len(NAMES[name])
    everything = [item.impath for part in (made.train_x, made.val or (), made.test) for item in part]
    assert all(Path(path).is_file() for path in everything)
    again = load(name, tmp_path, shots=-1, seed=2)  # from the split that was saved, or the same lists
    assert repr(again.train_x) == repr(made.train_x) and repr(again.test) == repr(made.test)
    if name not in TEST_ONLY | {"ImageNet"}:
        assert len(set(everything)) == len(everything)


@pytest.mark.parametrize("name", NAMES)
def test_the_split_file_is_the_familys(name, load, tmp_path):
    made = load(name, plant(name, tmp_path), shots=-1)
    if not made.split_file:
        assert not list(made.folder.glob("split*.json"))
        return
    content = json.loads((made.folder / made.split_file).read_text())
    assert made.split_file == f"split_zhou_{name}.json"
    assert [len(content[part]) for part in ("train", "val", "test")] == list(SIZES[name])
    path, label, classname = content["train"][0]
    assert (made.images / path).is_file() and NAMES[name][label] == classname


@pytest.mark.parametrize("name", NAMES)
def test_few_shots_and_subsets(name, load, tmp_path):
    plant(name, tmp_path)
    whole = load(name, tmp_path, shots=2)
    classes = len(NAMES[name])
    per_class = 3 if name in TEST_ONLY else 2  # test-only sets hand out their test list
    assert len(whole.train_x) == per_class * classes
    base, new = load(name, tmp_path, subset="base"), load(name, tmp_path, subset="new")
    half = (classes + 1) // 2
    assert base.classnames == NAMES[name][:half] and new.classnames == NAMES[name][half:]
    for part in ("train_x", "test"):
        images = {item.impath for item in getattr(whole, part)}
        parts = [{item.impath for item in getattr(subset, part)} for subset in (base, new)]
        assert parts[0] | parts[1] == images and not parts[0] & parts[1]
    assert {item.label for item in new.test} == set(range(classes - half))


def test_there_is_a_yaml_for_each():
    stems = "caltech101 dtd eurosat fgvc_aircraft food101 imagenet imagenet_a imagenet_r imagenet_sketch imagenetv2 "
    stems += "oxford_flowers oxford_pets stanford_cars sun397 ucf101"
    named = set()
    for stem in stems.split():
        cfg = default_config()
        merge_file(cfg, FILES[stem])
        named.add(cfg.DATASET.NAME)
    assert named == set(NAMES) <= set(DATASET_REGISTRY.registered_names())


@pytest.mark.parametrize("name", NAMES)
def test_a_training_and_an_evaluation(name, weights, tmp_path):
    cfg = default_config()
    merge_file(cfg, next(path for path in FILES.values() if f'NAME: "{name}"' in path.read_text()))
    cfg.merge_from_list(
        ["DATASET.ROOT", str(plant(name, tmp_path)), "DATASET.NUM_SHOTS", 1, "DATASET.SUBSAMPLE_CLASSES", "base"]
        + ["SEED", 1, "OUTPUT_DIR", str(tmp_path / "out"), "USE_CUDA", False, "TRAINER.NAME", "RESTORE_m"]
        + ["MODEL.BACKBONE.NAME", weights("tiny12"), "INPUT.SIZE", (32, 32), "TRAINER.RESTORE_M.PREC", "fp32"]
        + ["INPUT.TRANSFORMS", ["random_resized_crop", "random_flip", "normalize"]]
        + ["DATALOADER.NUM_WORKERS", 0, "DATALOADER.TRAIN_X.BATCH_SIZE", 2, "OPTIM.NAME", "sgd", "OPTIM.MAX_EPOCH", 1]
        + ["OPTIM.LR_SCHEDULER", "cosine", "VERBOSE", False]
    )
    set_random_seed(1)
    trainer = build_trainer(cfg)
    before = [value.clone() for value in trainer.learner.parameters()]
    trainer.train()
    assert any((old != new).any() for old, new in zip(before, trainer.learner.parameters(), strict=True))
    accuracy = trainer.test()
    assert 0 <= accuracy <= 100
    assert trainer.evaluator._total == len(trainer.dm.dataset.test) > 0
