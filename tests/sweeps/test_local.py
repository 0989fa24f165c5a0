"""The local launcher: order, skipping, trying again, stopping, sharing; with a stand-in for train.py."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import sweep
from promptclip.common.files import Lock
from sweeps import local
from sweeps.local import file_name, gpus, visible_devices
from sweeps.processes import REPOSITORY

TREE = "base2new/{}/emojinet/shots_16/{}/emojiclip/seed{}"
SMALL = "{trainers: [CoOp, VPT], dataset: emojinet, seed: 1, name: small}"
TRAIN, TEST = TREE.format("train_base", "CoOp", 1), TREE.format("test_new", "CoOp", 1)
TRAIN2, TEST2 = TREE.format("train_base", "VPT", 1), TREE.format("test_new", "VPT", 1)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(local, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(local, "IN_USE_SECONDS", 0.1)


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def test_a_sweep_runs_in_order_and_is_not_repeated(bench):
    bench.write(SMALL)
    done = bench("--root", "")
    assert done.code == 0, done.out + done.err
    assert bench.calls() == [TRAIN, TEST, TRAIN2, TEST2]
    assert "4/4 test VPT emojinet new seed 1: 50.0 %" in done.out and "\n4 runs: 4 done.\n" in done.out
    ending = done.out.split("4 done.\n")[1]  # its table, and what prints it
    assert ending.startswith(f"\n$ python -m report tables {bench.output} --sweep small\n")
    assert "Table 1." in ending and "VPT" in ending
    assert not (bench.output / "sweeps/small").exists()  # what finished runs printed is not kept
    again = bench()
    assert again.code == 0 and "4 done before" in again.out and len(bench.calls()) == 4


def test_the_file_for_report(bench):
    bench.write(SMALL)
    bench()
    content = json.loads((bench.output / "sweeps/small.json").read_text())
    assert content["name"] == "small" and content["spec"]["trainers"] == ["CoOp", "VPT"]
    rows = [{"label": "CoOp", "runs": [TRAIN, TEST]}, {"label": "VPT", "runs": [TRAIN2, TEST2]}]
    assert content["rows"] == rows


def test_dry_run_prints_what_is_done_and_what_is_to_do(bench):
    bench.write(SMALL)
    bench()
    bench.forget(TEST)
    lines = bench("--dry-run").out.splitlines()
    assert [line.startswith("# done: ") for line in lines] == [True, False, True, True]
    assert f"train.py --root '' --seed 1 --trainer CoOp --output-dir {bench.output}/{TEST} " in lines[1]
    assert len(bench.calls()) == 4 and not (bench.output / TEST).exists()


def test_only_what_is_missing_is_done(bench):
    bench.write(SMALL)
    bench()
    bench.forget(TEST)
    (bench.output / TRAIN2 / "metrics.json").write_text('{"complete": false, "mode": "train"}')
    assert bench().code == 0
    assert bench.calls()[4:] == [TEST, TRAIN2]  # the same checkpoint came out, so its evaluation holds


def test_another_checkpoint_is_evaluated_again(bench):
    bench.write(SMALL)
    bench()
    (bench.output / TRAIN / "prompts/model.pth.tar-10").write_text("trained again")
    assert "3 done before" in bench().out
    assert bench.calls()[4:] == [TEST]


def test_only_the_last_checkpoint_stays(bench):
    bench.write(SMALL)
    bench()
    assert [path.name for path in bench.output.rglob("model.pth.tar-*")] == ["model.pth.tar-10"] * 2
    asked = SMALL.replace("small}", "small, set: {TRAIN.CHECKPOINT_FREQ: 1}}")
    bench.forget(TRAIN)
    bench.spec.write_text(asked)
    bench()
    kept = (bench.output / TRAIN).rglob("model.pth.tar-*")
    assert sorted(path.name for path in kept) == ["model.pth.tar-1", "model.pth.tar-10"]


def test_checkpoints_of_a_training_that_outlived_its_sweep(bench):
    bench.write(SMALL)
    bench()
    run = bench.run_at(TRAIN)
    older = (bench.output / TRAIN / "prompts/model.pth.tar-1", bench.output / TRAIN2 / "prompts/model.pth.tar-1")
    for file in older:
        file.write_text("kept for resuming, or asked for")
    (bench.output / "sweeps/locks" / f"{file_name(run)}.extra").touch()  # as a killed sweep leaves it
    assert bench().code == 0
    assert [file.exists() for file in older] == [False, True]


def test_what_breaks_now_and_then_is_tried_again(bench):
    bench.write(SMALL)
    bench.behave(TRAIN, 1, times=2)
    assert bench().code == 0
    assert bench.calls() == [TRAIN] * 3 + [TEST, TRAIN2, TEST2]


def test_what_stays_broken_is_reported_and_the_rest_goes_on(bench):
    bench.write(SMALL)
    bench.behave(TRAIN, 1)
    done = bench("--retries", "1")
    assert done.code == 1
    assert bench.calls() == [TRAIN] * 2 + [TRAIN2, TEST2]
    assert f"broken: train CoOp emojinet base seed 1 ({bench.output}/{TRAIN})" in done.out
    assert "    log of attempt 2\n    error: it broke\n    (ended with code 1, the last of 2 attempts)" in done.out
    assert "because the training they evaluate broke:\n    test CoOp emojinet new seed 1" in done.out
    assert "4 runs: 2 done, 1 broken, 1 not run." in done.out
    (log,) = (bench.output / "sweeps/small/logs").iterdir()
    assert log.read_text() == "log of attempt 2\nerror: it broke\n"
    bench.behave_file.write_text("")
    assert bench().code == 0  # the same command, once it can work


@pytest.mark.parametrize("what, words", [("2", "ended with code 2"), ("nothing", "without a complete metrics.json")])
def test_other_ways_to_break(bench, what, words):
    bench.write(SMALL)
    bench.behave(TEST2, what)
    done = bench("--retries", "1")
    assert done.code == 1 and words in done.out
    assert bench.calls().count(TEST2) == (1 if what == "2" else 2)  # a refused command stays refused


def test_a_run_that_somebody_stopped_goes_on(bench):
    bench.write(SMALL)
    bench.behave(TRAIN, 75, times=4)
    assert bench("--retries", "0").code == 0
    assert bench.calls().count(TRAIN) == 5


def test_a_directory_of_another_run_is_named(bench):
    bench.write(SMALL)
    bench()
    config = bench.output / TRAIN / "config.yaml"
    config.write_text(config.read_text().replace("MAX_EPOCH: 10", "MAX_EPOCH: 11"))
    done = bench()
    assert done.code == 1 and "another configuration (OPTIM.MAX_EPOCH: 11 -> 10)" in done.out
    assert len(bench.calls()) == 4


def test_a_damaged_record_is_named(bench):
    bench.write(SMALL)
    bench()
    (bench.output / TEST / "metrics.json").write_text("{")
    done = bench()
    assert done.code == 1 and "metrics.json is damaged; delete it" in done.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_saves_leaves_nothing_running_and_goes_on(bench, number):
    bench.write(SMALL)
    bench.behave("train_base", "hang", times=1)

    def interrupt():
        wait_for(lambda: bench.hanging() == 2)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    done = bench("--jobs", "2")
    thread.join()
    assert done.code == 75 and "stopping" in done.err and "The same command resumes." in done.out
    assert bench.saved() == 2
    assert bench().code == 0


def test_asked_twice_it_ends_at_once(bench):
    bench.write(SMALL)
    bench.python.write_text(bench.python.read_text().replace("sleep 0.3", "sleep 300"))
    bench.behave(TRAIN, "hang", times=1)

    def interrupt():
        wait_for(bench.hanging)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

    threading.Thread(target=interrupt).start()
    began = time.monotonic()
    assert bench().code == 75
    assert time.monotonic() - began < 60


def test_a_run_of_another_sweep_is_left_to_it(bench):
    bench.write(SMALL)
    locks = bench.output / "sweeps/locks"
    locks.mkdir(parents=True)
    other = Lock(locks / file_name(bench.run_at(TRAIN)))
    other.take()

    def finish_it():
        wait_for(lambda: bench.calls() == [TRAIN2, TEST2])  # meanwhile the rest was done
        os.makedirs((bench.output / TRAIN).parent)
        os.rename(bench.prepared / TRAIN, bench.output / TRAIN)
        other.release()

    thread = threading.Thread(target=finish_it)
    thread.start()
    done = bench()
    thread.join()
    assert done.code == 0, done.out
    assert bench.calls() == [TRAIN2, TEST2, TEST]
    assert "waiting for another sweep" in done.out and "done by another process" in done.out


def test_a_run_that_goes_on_by_itself_is_waited_for(bench):
    """The sweep was killed, its run was not."""
    bench.write(SMALL)
    directory = bench.output / TRAIN
    directory.mkdir(parents=True)
    orphan = subprocess.Popen(
        [sys.executable, "-c", f"import sys, pathlib; sys.path.insert(0, {str(Path.cwd())!r})\n"
         "from promptclip.common.files import Lock\n"
         f"lock = Lock(pathlib.Path({str(directory)!r}) / '.lock'); lock.take()\n"
         "print('locked', flush=True); sys.stdin.read(); lock.release()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert orphan.stdout.readline() == "locked\n"

    def end_it():
        wait_for(lambda: bench.calls() == [TRAIN2, TEST2])
        orphan.communicate("")

    thread = threading.Thread(target=end_it)
    thread.start()
    done = bench()
    thread.join()
    assert done.code == 0, done.out
    assert f"waiting for process {orphan.pid} on" in done.out
    assert bench.calls() == [TRAIN2, TEST2, TRAIN, TEST]


def test_runs_end_with_their_sweep(bench):
    """Whatever kills it: its runs are told to save, where the system can tell them, and none runs beside new ones."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells a process that its parent died")
    bench.write(SMALL)
    bench.behave("train_base", "hang", times=1)
    command = [sys.executable, "sweep.py", *bench.arguments("--jobs", "2")]
    killed = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(lambda: bench.hanging() == 2)
    killed.kill()
    killed.wait()
    wait_for(lambda: bench.saved() == 2)
    assert bench().code == 0
    assert bench.calls().count(TRAIN) == bench.calls().count(TRAIN2) == 2


def test_a_run_that_finds_its_directory_in_use_is_tried_later(bench):
    """The other process had not locked it yet when we looked."""
    bench.write(SMALL)
    bench.behave(TRAIN, "busy", times=2)
    assert bench("--retries", "0").code == 0
    assert bench.calls().count(TRAIN) == 3 and bench.calls()[1] != TRAIN


def test_each_gpu_in_turn(bench, monkeypatch):
    bench.write("{trainers: [CoOp, VPT, LPT, IVLP], dataset: emojinet, seed: 1, subset: base, name: small}")
    bench.behave("train_base", "hang", times=1)
    monkeypatch.setattr("sweeps.session.gpus", lambda: ["4", "6"])
    stand_in = bench.python.read_text()
    bench.python.write_text(stand_in.replace("while :; do sleep 0.05; done", "sleep 1; exit 75"))
    assert bench("--jobs", "4").code == 0
    first = [line.split()[1] for line in bench.calls_file.read_text().splitlines()[:4]]
    assert sorted(first) == ["4", "4", "6", "6"]


def test_one_thread_for_the_embedded_sets(bench, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    bench.write(SMALL)
    monkeypatch.setattr("sweeps.session.gpus", lambda: [])
    bench()
    assert {line.split()[-1] for line in bench.calls_file.read_text().splitlines()} == {"1"}


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["seeds=one"], "must hold whole numbers"),
        (["datasets=emoji"], "did you mean 'emojinet'?"),
        (["--launcher", "slurm", "--slurm", "partition"], "--slurm partition is not KEY=VALUE"),
    ],
)
def test_a_wrong_command_is_one_sentence(bench, arguments, sentence):
    bench.write(SMALL)
    done = bench(*arguments)
    assert done.code == 2 and sentence in done.err and done.err.count("\n") == 1
    assert not bench.output.exists()


def test_streams_that_lack_a_letter_or_are_full_stop_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert sweep.main(["demo/table1", "--dry-run", "--output", str(tmp_path / "für")]) == 0
    sys.stdout.flush()
    assert b"f\\xfcr/base2new" in sys.stdout.buffer.getvalue()
    monkeypatch.setattr(sys, "stdout", open("/dev/full", "w"))  # noqa: SIM115
    assert sweep.main(["demo/table1", "--dry-run"]) == 0


@pytest.mark.parametrize(
    ("variable", "value", "count", "hip", "expected"),
    [
        ("CUDA_VISIBLE_DEVICES", "", 2, None, ["0", "1"]),
        ("CUDA_VISIBLE_DEVICES", "2, 3", 2, None, ["2", "3"]),
        ("CUDA_VISIBLE_DEVICES", "2,3,9", 2, None, ["2", "3"]),  # there is no ninth
        ("CUDA_VISIBLE_DEVICES", "MIG-aa,MIG-bb,MIG-cc", 1, None, ["MIG-aa", "MIG-bb", "MIG-cc"]),
        ("CUDA_VISIBLE_DEVICES", "MIG-aa", 0, None, []),
        ("HIP_VISIBLE_DEVICES", "1,2", 2, "6.3", ["1", "2"]),
        ("HIP_VISIBLE_DEVICES", "1,2", 2, None, ["0", "1"]),  # not an AMD build
    ],
)
def test_the_gpus_there_are(variable, value, count, hip, expected, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("HIP_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.setattr("torch.version.hip", hip)
    assert gpus() == expected
    assert visible_devices() == ("HIP_VISIBLE_DEVICES" if hip else "CUDA_VISIBLE_DEVICES")
