"""Trees of logs as CoOp, MaPLe and PromptSRC leave them, read beside our own records."""

import os

import pytest

from report.records import read_records

HEAD = """***************
** Arguments **
***************
backbone:{space}
config_file: configs/trainers/{trainer}/{config}.yaml
eval_only: {evaluation}
load_epoch: {epoch}
model_dir: {model_dir}
************
** Config **
************
DATASET:
  NAME: {dataset}
  NUM_SHOTS: 16
  ROOT: /data
  SOURCE_DOMAINS: ()
  SUBSAMPLE_CLASSES: {subset}
INPUT:
  SIZE: (224, 224)
MODEL:
  BACKBONE:
    NAME: ViT-B/16
OPTIM:
  LR: 0.0035
  MAX_EPOCH: 5
SEED: {seed}
TRAINER:
  NAME: {trainer}
  MAPLE:
    N_CTX: 2
Collecting env info ...
** System info **
"""
RESULT = """Evaluate on the *test* set
=> result
* total: 3,669
* correct: 3,400
* accuracy: {}%
* error: 7.3%
* macro_f1: 12.6%
"""
EPOCHS = "epoch [1/5] batch [5/5] time 0.1 (0.1) loss 0.5 (0.5) lr 1e-05 eta 0:00:00\n"


@pytest.fixture
def log(output):
    """log("MaPLe", "base", 1, 83.1): write one log into a CoOp-style tree; keywords change how."""

    def write(trainer, subset, seed, accuracy, dataset="OxfordPets", stem="oxford_pets", head=True, finish="Finish"):
        config = "vit_b16_c2_ep5"
        trees = {
            "base": f"base2new/train_base/{stem}/shots_16/{trainer}/{config}",
            "new": f"base2new/test_new/{stem}/shots_16/{trainer}/{config}",
            "source": f"{stem}/{trainer}/{config}_16shots",
            "target": f"evaluation/{trainer}/{config}_16shots/{stem}",
        }
        training = subset in ("base", "source")
        run = output / trees[subset] / f"seed{seed}"
        run.mkdir(parents=True)
        text = HEAD.format(
            space=" ",
            trainer=trainer,
            config=config,
            evaluation=not training,
            epoch="None" if training else 5,
            model_dir=f"output/imagenet/{trainer}/{config}_16shots/seed{seed}" if subset == "target" else "",
            dataset=dataset,
            subset=subset if subset in ("base", "new") else "all",
            seed=seed,
        )
        text = text if head else ""
        if training:  # a validation result before the end does not count
            text += EPOCHS + RESULT.format(1.0) + (f"{finish} training\n" if finish else "")
        text += RESULT.format(accuracy) if finish else ""
        (run / "log.txt").write_text(text + "Elapsed: 0:00:02\n")
        return run

    return write


def test_a_tree_of_the_reference_repositories(log, output, show, cells):
    for seed, base, new in [(1, 95.1, 97.5), (2, 95.3, 97.9)]:
        log("MaPLe", "base", seed, base, finish="Finished" if seed == 1 else "Finish")
        log("MaPLe", "new", seed, new)
    log("CoOp", "base", 1, 93.7, head=False)
    log("CoOp", "new", 1, 95.2, head=False)
    log("PromptSRC", "source", 1, 71.3, "ImageNet", "imagenet")
    log("PromptSRC", "target", 1, 86.1, "Food101", "food101")
    log("PromptSRC", "target", 1, 64.3, "ImageNetV2", "imagenetv2")
    code, out, err = show("tables", output)
    assert (code, err) == (0, "")
    tables = cells(out)
    assert tables[0][1:] == [["CoOp, from logs", "93.7", "95.2", "94.4", "1"]]
    # H: 96.285 and 96.582
    assert tables[1][1:] == [["MaPLe, from logs", "95.2 ± 0.1", "97.7 ± 0.2", "96.4 ± 0.1", "2"]]
    assert tables[2] == [
        ["method", "source", "Food101", "average", "seeds"],
        ["PromptSRC, from logs", "71.3", "86.1", "86.1", "1"],
    ]
    assert tables[3] == [
        ["method", "source", "ImageNetV2", "average", "seeds"],
        ["PromptSRC, from logs", "71.3", "64.3", "64.3", "1"],
    ]
    assert "Rows from logs rest on accuracies with one decimal." in out


def test_what_a_log_says(log, output):
    run = log("MaPLe", "base", 3, 95.1)
    (record,) = read_records(output)
    assert (record.path, record.trainer, record.dataset, record.subset) == (run, "MaPLe", "OxfordPets", "base")
    assert (record.seed, record.accuracy, record.mode, record.epoch) == (3, 95.1, "train", 5)
    assert (record.shots, record.backbone, record.from_log, record.protocol) == (16, "ViT-B/16", True, "base2new")
    assert record.config["TRAINER.MAPLE.N_CTX"] == 2 and record.config["INPUT.SIZE"] == "(224, 224)"


def test_a_path_says_enough_where_a_log_does_not(log, output):
    log("CoOp", "new", 2, 50.0, head=False)
    log("CoOp", "target", 1, 40.0, stem="dtd", head=False)
    new, target = sorted(read_records(output), key=lambda record: record.subset, reverse=True)
    assert (new.trainer, new.dataset, new.subset, new.seed, new.shots) == ("CoOp", "OxfordPets", "new", 2, 16)
    assert (target.trainer, target.dataset, target.subset) == ("CoOp", "DescribableTextures", "all")


def test_old_logs_and_own_records_stand_in_one_table(log, put, output, show, cells):
    log("MaPLe", "base", 1, 95.1)
    put("MaPLe", "base", 1, 60.0)
    names = [row[0] for row in cells(show("tables", output)[1])[0][1:]]
    assert names == ["MaPLe", "MaPLe, from logs"]


def test_a_record_comes_before_its_log(log, put, output):
    run = put("MaPLe", "base", 1, 60.0)
    (run / "log.txt").write_text(RESULT.format(99.0))
    assert [record.accuracy for record in read_records(output)] == [60.0]


def test_a_training_that_is_not_over_has_no_result(log, put, output):
    put("CoOp", "base", 1, 60.0)
    log("MaPLe", "base", 1, 95.1, finish="")
    assert [record.trainer for record in read_records(output)] == ["CoOp"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: (file.unlink(), file.mkdir()), "log.txt is left out: it is no file"),
        (lambda file: (file.unlink(), os.mkfifo(file)), "log.txt is left out: it is no file"),
        (
            lambda file: file.write_text(file.read_text().replace("95.1%", "1e999%")),
            "accuracy 1e999%, which is no number",
        ),
        (lambda file: file.write_text(file.read_text().replace("95.1%", "..%")), "accuracy ..%, which is no number"),
        (lambda file: file.write_text(file.read_text().replace("95.1%", "nan%")), "accuracy nan%, which is no number"),
        (
            lambda file: file.write_text(file.read_text().replace("95.1%", "951%")),
            "951%, which is no number from 0 to 100",
        ),
        (lambda file: file.write_text("a" * 50_000_000), ""),
    ],
)
def test_a_log_that_cannot_be_read_leaves_the_others(log, output, show, cells, spoil, said):
    log("CoOp", "base", 1, 60.0)
    run = log("MaPLe", "base", 1, 95.1)
    spoil(run / "log.txt")
    code, out, err = show("tables", output)
    assert code == 0 and [row[0] for row in cells(out)[0][1:]] == ["CoOp, from logs"]
    assert said in err and err.count("\n") == bool(said)


def test_a_value_that_yaml_cannot_read_stays_text(log, output):
    run = log("MaPLe", "base", 1, 95.1)
    text = (run / "log.txt").read_text()
    (run / "log.txt").write_text(
        text.replace("ROOT: /data", "ROOT: 2024-13-45").replace("load_epoch: None", "load_epoch: " + "9" * 5000)
    )
    (record,) = read_records(output)
    assert record.config["DATASET.ROOT"] == "2024-13-45" and record.accuracy == 95.1


def test_a_log_that_is_no_text_does_no_harm(put, output):
    run = put("CoOp", "base", 1, 60.0)
    (run.parent / "seed2").mkdir()
    (run.parent / "seed2" / "log.txt").write_bytes(bytes(range(256)) * 10)
    assert len(read_records(output)) == 1
