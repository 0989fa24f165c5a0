"""From specification to command lines: those of the scripts, in the scripts' places."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.plan import make_plan
from sweeps.processes import REPOSITORY
from sweeps.spec import SPECS, read_spec, rows_of


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """plan(text, *changes) -> the plan of a specification, below "out"."""
    monkeypatch.chdir(REPOSITORY)

    def make(text, *changes, root=""):
        file = tmp_path / "mine.yaml"
        file.write_text(text)
        return make_plan(rows_of(read_spec(file, list(changes))), "out", root)

    return make


@pytest.mark.parametrize(
    "spec, scripts",
    [
        (
            "{trainer: RESTORE_m, dataset: emojinet, seed: 2}",
            ["restore/base2new_train.sh emojinet 2", "restore/base2new_test.sh emojinet 2"],
        ),
        (
            "{trainer: CoOp, dataset: emojinet, seed: 1, shots: 4, epochs: 10, tag: '', set: {OPTIM.LR: 0.1}}",
            [
                "SHOTS=4 EPOCHS=10 coop/base2new_train.sh emojinet 1 OPTIM.LR 0.1",
                "SHOTS=4 EPOCHS=10 coop/base2new_test.sh emojinet 1 OPTIM.LR 0.1",
            ],
        ),
        (
            "{trainer: RESTORE_m, dataset: emojinet, seed: 2, subsets: [base, all]}",
            ["restore/base2new_train.sh emojinet 2", "restore/base2new_test_all.sh emojinet 2"],
        ),
        ("{trainer: ZeroshotCLIP, dataset: emojinet, epochs: 5}", ["zsclip/base2new_test.sh emojinet"]),
        ("{trainer: ZeroshotCLIP, dataset: emojinet, subset: all}", ["zsclip/base2new_test_all.sh emojinet"]),
        (
            "{trainer: MaPLe, dataset: emojinet_mono, seed: 1, protocol: cross_domain}",
            ["maple/xd_train.sh emojinet 1", "maple/xd_test.sh emojinet_mono 1"],
        ),
        (
            "{trainer: RESTORE_p, config: vit_b16_c4_ep4_batch4_cross_datasets, dataset: dtd, seed: 1, "
            "protocol: cross_dataset}",
            ["TRAINER=RESTORE_p restore/xd_train.sh imagenet 1", "TRAINER=RESTORE_p restore/xd_test.sh dtd 1"],
        ),
        (
            "{trainer: VPT, dataset: emojinet, seed: 3, protocol: fewshot, shots: [1, 2, 4, 8, 16]}",
            ["vpt/fewshot.sh emojinet 3"],
        ),
    ],
)
def test_commands_and_places_are_the_scripts(plan, tmp_path, spec, scripts):
    calls = tmp_path / "calls"
    stand_in = tmp_path / "python"  # leaves the epochs of the yaml, which the scripts read from there
    stand_in.write_text(
        f'#!/bin/sh\n[ "$1" = train.py ] || exec {sys.executable} "$@"\nfor w; do printf "%s\\t" "$w"; done >>{calls}\n'
        f"echo >>{calls}\nexit 0\n"
    )
    stand_in.chmod(0o755)
    clean = {key: os.environ[key] for key in ("PATH", "HOME", "PYTHONPATH") if key in os.environ}
    for script in scripts:
        *settings, name = [word for word in script.split() if "/" in word or "=" in word]
        environment = dict(word.split("=") for word in settings) | {"OUTPUT": str(tmp_path / "out"), "DATA": "/data"}
        subprocess.run(
            ["bash", f"scripts/{name}", *script.split(name)[1].split()],
            env=clean | environment | {"PYTHON": str(stand_in)},
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            check=True,
        )
    asked = [line.rstrip("\t").split("\t") for line in calls.read_text().splitlines()]
    ours = [list(run.argv) for run in plan(spec, root="/data").runs.values()]
    theirs = [[word.replace(str(tmp_path / "out"), "out") for word in argv] for argv in asked]
    assert [sorted(argv) for argv in ours] == [sorted(argv) for argv in theirs]
    assert all(argv[0] == "train.py" for argv in ours)


def test_an_evaluation_needs_its_training(plan):
    runs = list(plan("{trainers: [CoOp, VPT], dataset: emojinet, seeds: [1, 2]}").runs.values())
    assert [bool(run.needs) for run in runs] == [False, True] * 4
    assert all(test.needs == train.directory for train, test in zip(runs[::2], runs[1::2], strict=True))
    assert [run.trains for run in runs] == [True, False] * 4
    assert runs[1].epochs == 10 and runs[1].argv[runs[1].argv.index("--load-epoch") + 1] == "10"


def test_an_option_that_changes_something_gets_a_place_of_its_own(plan):
    text = (
        "{trainer: RESTORE_m, dataset: emojinet, seed: 1, subset: base, set: {TRAINER.RESTORE_M.FS_WEIGHT: [0.1, 1.0]}}"
    )
    weak, usual = plan(text).runs.values()
    assert "/emojiclip-fs_weight_0.1/seed1" in weak.directory
    assert weak.argv[-2:] == ("TRAINER.RESTORE_M.FS_WEIGHT", "0.1")
    (plain,) = plan("{trainer: RESTORE_m, dataset: emojinet, seed: 1, subset: base}").runs.values()
    assert usual == plain  # 1.0 is the default: the same run, which table1 has too


def test_an_option_without_effect_keeps_the_place(plan):
    (run,) = plan("{trainer: CoOp, dataset: emojinet, seed: 1, subset: base, set: {USE_CUDA: False}}").runs.values()
    assert "/emojiclip/seed1" in run.directory and run.argv[-2:] == ("USE_CUDA", "False")


def test_checkpoints_that_are_asked_for(plan):
    text = "{trainer: CoOp, dataset: emojinet, seed: 1, subset: base}"
    (usual,), (asked,) = plan(text).runs.values(), plan(text, "TRAIN.CHECKPOINT_FREQ=5").runs.values()
    assert not usual.keeps_all and asked.keeps_all and asked.directory == usual.directory
    assert asked.argv[asked.argv.index("TRAIN.CHECKPOINT_FREQ") + 1] == "5"


def test_rows_share_runs_and_name_theirs(plan):
    text = "{dataset: emojinet, seed: 1, rows: [{trainer: CoOp}, {label: again, trainer: CoOp}, {trainer: VPT}]}"
    made = plan(text)
    assert [label for label, _ in made.rows] == ["CoOp", "again", "VPT"]
    assert made.rows[0][1] == made.rows[1][1] and len(made.runs) == 4


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("{trainer: COOP, dataset: emojinet}", "no trainer 'COOP': did you mean 'CoOp'?"),
        ("{trainer: CoOp, dataset: emoji_net}", "did you mean 'emojinet'?"),
        ("{trainer: CoOp, dataset: emojinet, config: emojclip}", "did you mean 'emojiclip'?"),
        ("{trainer: CoOp, dataset: dtd}", "names no config; CoOp has emojiclip, rn50_ep50"),
        ("{trainer: CoOp, dataset: emojinet, set: {OPTIM.LRR: 1}}", "OPTIM.LRR; did you mean OPTIM.LR?"),
        ("{trainer: CoOp, dataset: emojinet, set: {OPTIM.LR: fast}}", "must be of type float"),
        ("{trainer: CoOp, dataset: emojinet, set: {OPTIM.LR: -1}}", "allowed is 0"),
        ("{trainer: CoOp, dataset: mine.yaml}", "no file mine.yaml"),
        (
            "{dataset: emojinet, tag: '', rows: [{trainer: CoOp}, {label: b, trainer: CoOp, set: {OPTIM.LR: 0.1}}]}",
            "give one of them a tag",
        ),
    ],
)
def test_what_cannot_be_done(plan, text, sentence):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        plan(text, root="/data")
    assert sentence in str(caught.value)


def test_a_data_set_that_is_not_embedded_needs_a_root(plan):
    with pytest.raises(ValueError, match="--root must name the directory that holds dtd"):
        plan("{trainer: CoOp, config: vit_b16_ep50, dataset: dtd}")


READY = sorted({*SPECS.rglob("*.yaml")} - {SPECS / "base2new.yaml"})  # base2new says nothing by itself


@pytest.mark.parametrize("spec", READY, ids=lambda path: str(path.relative_to(SPECS)))
def test_ready_specifications_can_be_planned(spec, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    content = read_spec(spec, ["seeds=1"])
    datasets = content["datasets"]
    content["datasets"] = [datasets[0], datasets[-1]] if len(datasets) > 1 else datasets
    made = make_plan(rows_of(content), "output", "/data")
    assert all(made.runs[directory].directory == directory for _, directories in made.rows for directory in directories)
    assert all(run.needs in made.runs for run in made.runs.values() if run.needs)
    assert f"sweep.py {spec.relative_to(SPECS).with_suffix('')}" in Path(spec).read_text().splitlines()[0]
