"""Defaults, merging, and what a user is told about a wrong setting."""

import time

import pytest
from dassl.config import clean_cfg, get_cfg_default
from yacs.config import CfgNode as YacsNode

CONTRACT = {
    "VERSION": 1,
    "OUTPUT_DIR": "./output",
    "RESUME": "",
    "SEED": -1,
    "USE_CUDA": True,
    "VERBOSE": True,
    "INPUT": {
        "SIZE": (224, 224),
        "INTERPOLATION": "bilinear",
        "TRANSFORMS": (),
        "NO_TRANSFORM": False,
        "PIXEL_MEAN": [0.485, 0.456, 0.406],
        "PIXEL_STD": [0.229, 0.224, 0.225],
        "CROP_PADDING": 4,
        "RRCROP_SCALE": (0.08, 1.0),
        "CUTOUT_N": 1,
        "CUTOUT_LEN": 16,
        "GN_MEAN": 0.0,
        "GN_STD": 0.15,
        "RANDAUGMENT_N": 2,
        "RANDAUGMENT_M": 10,
        "COLORJITTER_B": 0.4,
        "COLORJITTER_C": 0.4,
        "COLORJITTER_S": 0.4,
        "COLORJITTER_H": 0.1,
        "RGS_P": 0.2,
        "GB_P": 0.5,
        "GB_K": 21,
    },
    "DATASET": {
        "ROOT": "",
        "NAME": "",
        "SOURCE_DOMAINS": (),
        "TARGET_DOMAINS": (),
        "NUM_LABELED": -1,
        "NUM_SHOTS": -1,
        "VAL_PERCENT": 0.1,
        "STL10_FOLD": -1,
        "CIFAR_C_TYPE": "",
        "CIFAR_C_LEVEL": 1,
        "ALL_AS_UNLABELED": False,
    },
    "DATALOADER": {
        "NUM_WORKERS": 4,
        "K_TRANSFORMS": 1,
        "RETURN_IMG0": False,
        "TRAIN_X": {"SAMPLER": "RandomSampler", "BATCH_SIZE": 32, "N_DOMAIN": 0, "N_INS": 16},
        "TRAIN_U": {"SAME_AS_X": True, "SAMPLER": "RandomSampler", "BATCH_SIZE": 32, "N_DOMAIN": 0, "N_INS": 16},
        "TEST": {"SAMPLER": "SequentialSampler", "BATCH_SIZE": 32},
    },
    "MODEL": {
        "INIT_WEIGHTS": "",
        "BACKBONE": {"NAME": "", "PRETRAINED": True},
        "HEAD": {"NAME": "", "HIDDEN_LAYERS": (), "ACTIVATION": "relu", "BN": True, "DROPOUT": 0.0},
    },
    "OPTIM": {
        "NAME": "adam",
        "LR": 0.0003,
        "WEIGHT_DECAY": 5e-4,
        "MOMENTUM": 0.9,
        "SGD_DAMPNING": 0,
        "SGD_NESTEROV": False,
        "RMSPROP_ALPHA": 0.99,
        "ADAM_BETA1": 0.9,
        "ADAM_BETA2": 0.999,
        "STAGED_LR": False,
        "NEW_LAYERS": (),
        "BASE_LR_MULT": 0.1,
        "LR_SCHEDULER": "single_step",
        "STEPSIZE": (-1,),
        "GAMMA": 0.1,
        "MAX_EPOCH": 10,
        "WARMUP_EPOCH": -1,
        "WARMUP_TYPE": "linear",
        "WARMUP_CONS_LR": 1e-5,
        "WARMUP_MIN_LR": 1e-5,
        "WARMUP_RECOUNT": True,
    },
    "TRAIN": {"CHECKPOINT_FREQ": 0, "PRINT_FREQ": 10, "COUNT_ITER": "train_x"},
    "TEST": {
        "EVALUATOR": "Classification",
        "PER_CLASS_RESULT": False,
        "COMPUTE_CMAT": False,
        "NO_TEST": False,
        "SPLIT": "test",
        "FINAL_MODEL": "last_step",
    },
    "TRAINER": {"NAME": ""},
}


def _plain(node):
    return {k: _plain(v) if isinstance(v, dict) else v for k, v in node.items()}


def test_defaults_are_the_contract_s():
    defaults = _plain(get_cfg_default())
    # ours alone
    assert defaults["TEST"].pop("SKIP_BROKEN") is False
    assert defaults["DATALOADER"].pop("CACHE_MB") == 0
    assert defaults["DATALOADER"]["TEST"].pop("NUM_WORKERS") == -1
    assert defaults == CONTRACT


def test_every_copy_of_the_defaults_is_its_own():
    get_cfg_default().OPTIM.LR = 5.0
    assert get_cfg_default().OPTIM.LR == 0.0003


def test_nodes_that_coop_style_code_adds_merge_and_freeze():
    cfg = get_cfg_default()
    cfg.TRAINER.COOP = YacsNode()
    cfg.TRAINER.COOP.N_CTX = 16
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    cfg.merge_from_list(["TRAINER.COOP.N_CTX", "4", "DATASET.SUBSAMPLE_CLASSES", "base"])
    cfg.freeze()
    assert (cfg.TRAINER.COOP.N_CTX, cfg.DATASET.SUBSAMPLE_CLASSES) == (4, "base")
    with pytest.raises(AttributeError):
        cfg.SEED = 3


def test_clean_cfg_keeps_the_one_trainer():
    cfg = get_cfg_default()
    cfg.TRAINER.COOP, cfg.TRAINER.MAPLE = YacsNode(), YacsNode()
    clean_cfg(cfg, "CoOp")
    assert list(cfg.TRAINER) == ["NAME", "COOP"]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("OPTIM.LR", "1", 1.0),
        ("OPTIM.LR", "2e-3", 0.002),
        ("INPUT.SIZE", "(64, 32)", (64, 32)),
        ("OPTIM.STEPSIZE", "[3, 5]", (3, 5)),
        ("INPUT.PIXEL_MEAN", (1.0, 2.0, 3.0), [1.0, 2.0, 3.0]),
        ("USE_CUDA", "False", False),
        ("DATASET.NAME", "1e3", "1e3"),
        ("DATASET.NAME", "'quoted'", "quoted"),
        ("DATASET.ROOT", "/data/x y", "/data/x y"),
    ],
)
def test_command_line_values_take_the_type_of_the_default(key, text, value):
    cfg = get_cfg_default()
    cfg.merge_from_list([key, text])
    group, name = key.rsplit(".", 1) if "." in key else ("", key)
    got = (cfg[group] if group else cfg)[name]
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("key", "error", "hint"),
    [
        ("OPTIM.LRR", KeyError, "did you mean OPTIM.LR?"),
        ("LR", KeyError, "did you mean OPTIM.LR?"),
        ("optim.lr", KeyError, "did you mean OPTIM.LR?"),
        ("OPTIM.LR.X", KeyError, "OPTIM.LR.X is not a key"),
        ("OPTIM.MAX_EPOCH", ValueError, "OPTIM.MAX_EPOCH must be of type int (it is 10 now), not 'many'."),
        ("OPTIM", ValueError, "OPTIM is a group of settings"),
    ],
)
def test_wrong_keys_and_values_get_a_sentence(key, error, hint):
    cfg = get_cfg_default()
    with pytest.raises(error) as caught:
        cfg.merge_from_list([key, "many"])
    assert hint in str(caught.value)
    assert str(caught.value)[0] not in "'\""
    assert cfg == get_cfg_default()


def test_a_key_without_value_gets_a_sentence():
    with pytest.raises(ValueError, match="the last key, OPTIM.GAMMA, has no value"):
        get_cfg_default().merge_from_list(["SEED", 1, "OPTIM.GAMMA"])


def test_yaml_file_is_merged(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text('OPTIM:\n  LR: 2\n  NAME: "sgd"\nINPUT:\n  SIZE: [64, 64]\n  TRANSFORMS: ["normalize"]\n')
    cfg = get_cfg_default()
    cfg.merge_from_file(str(path))
    assert (cfg.OPTIM.LR, cfg.OPTIM.NAME, cfg.INPUT.SIZE, cfg.INPUT.TRANSFORMS) == (
        2.0,
        "sgd",
        (64, 64),
        ("normalize",),
    )


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("OPTIM:\n  MAX_EPOCHS: 3\nSEED: 4\n", "did you mean OPTIM.MAX_EPOCH?"),
        ("SEED: 4\nOPTIM: 3\n", "OPTIM is a group of settings"),
        ("SEED: four\n", "SEED must be of type int"),
        ("- SEED\n", "not a list"),
        ("SEED: [\n", "not a valid yaml file"),
        ("SEED: !!python/object/apply:os.system ['touch pwned']\n", "not a valid yaml file"),
        ("OPTIM:\n  LR: 1.0\nSEED: 4\nOPTIM:\n  GAMMA: 0.5\n", "OPTIM stands twice, in lines 1 and 4"),
        ("OPTIM: {LR: 1.0, GAMMA: 0.5, LR: 2.0}\n", "LR stands twice, in lines 1 and 1"),
        ("a: &a [1, 1]\nINPUT:\n  SIZE: *a\n", "aliases (*a) are not allowed"),
        ("SEED: " + "[" * 20_000, "nested more than 50 deep"),
        ("- " * 20_000, "nested more than 50 deep"),
        ("# long\n" * 20_000, "longer than 100,000 characters"),
        ("SEED: 2001-01-01\n", "c.yaml"),
    ],
)
def test_a_wrong_yaml_file_is_named_and_changes_nothing(tmp_path, monkeypatch, text, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(text)
    cfg = get_cfg_default()
    began = time.process_time()
    with pytest.raises((KeyError, ValueError)) as caught:
        cfg.merge_from_file("c.yaml")
    assert time.process_time() - began < 2
    assert "c.yaml" in str(caught.value)
    assert hint in str(caught.value)
    assert cfg == get_cfg_default()
    assert not (tmp_path / "pwned").exists()


def test_a_missing_or_empty_yaml_file(tmp_path):
    cfg = get_cfg_default()
    with pytest.raises(FileNotFoundError, match="no configuration file"):
        cfg.merge_from_file(str(tmp_path / "none.yaml"))
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    cfg.merge_from_file(str(tmp_path / "empty.yaml"))
    assert cfg == get_cfg_default()
