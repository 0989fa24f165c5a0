"""The Slurm launcher against a real Slurm of one node; skipped, with a reason, where none answers."""

import os
import re
import shutil
import subprocess
import threading
import time

import pytest

TREE = "base2new/{}/emojinet/shots_16/{}/emojiclip/seed1"
SMALL = "{trainers: [CoOp, VPT], dataset: emojinet, seed: 1, name: small}"


@pytest.fixture(scope="module", autouse=True)
def real_slurm():
    """Slurm answers, or the tests are skipped; `.ci/slurm start DIR` starts one."""
    pytest.importorskip("submitit", reason="submitit is not installed; pip install submitit")
    if shutil.which("sinfo") is None:
        pytest.skip("Slurm is not installed; apt-get install slurm-wlm munge, then .ci/slurm start DIR")
    try:
        done = subprocess.run(["sinfo", "-h"], capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:
        done = None
    if done is None or done.returncode or not done.stdout.strip():
        pytest.skip("no Slurm answers; .ci/slurm start DIR starts one, as root, and prints how to reach it")


@pytest.fixture
def sweep(bench, monkeypatch):
    """sweep(...) -> as `bench`, through Slurm."""
    from sweeps import slurm

    monkeypatch.setattr(slurm, "LOOK_SECONDS", 0.5)
    bench.write(SMALL)
    options = ["--launcher", "slurm", "--slurm", "cpus_per_task=1", "--slurm", f"job_name={bench.folder.name}"]
    return lambda *more: bench(*options, *more)


def jobs(bench, form="%i"):
    """One's jobs of this test in the queue."""
    command = ["squeue", "-h", "-r", "-n", bench.folder.name, "-o", form]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)


def test_trainings_then_their_evaluations_in_arrays(bench, sweep):
    done = sweep()
    assert done.code == 0, done.out + done.err
    assert sorted(bench.calls()[:2]) == sorted(TREE.format("train_base", name) for name in ("CoOp", "VPT"))
    assert sorted(bench.calls()[2:]) == sorted(TREE.format("test_new", name) for name in ("CoOp", "VPT"))
    submitted = sorted((bench.output / "sweeps/small/slurm").glob("*submission.sh"))
    scripts = [path.read_text() for path in submitted if not path.name.startswith(".")]
    assert len(scripts) == 2 and all("#SBATCH --array=0-1" in text for text in scripts)
    assert re.search(r"#SBATCH --dependency=aftercorr:\d+\n", "".join(scripts))
    assert "4 done before" in sweep().out and len(bench.calls()) == 4


def test_what_breaks_is_reported_and_what_needs_it_does_not_run(bench, sweep):
    bench.behave(TREE.format("train_base", "CoOp"), 1)
    done = sweep("--retries", "1")
    assert done.code == 1
    assert bench.calls().count(TREE.format("train_base", "CoOp")) == 2
    assert "    error: it broke" in done.out and "4 runs: 2 done, 1 broken, 1 not run." in done.out
    bench.behave_file.write_text("")
    assert sweep().code == 0


@pytest.mark.parametrize("number", ["USR2", "TERM"])
def test_a_job_that_slurm_stops_saves_and_is_queued_again(bench, sweep, number):
    """USR2 is what Slurm sends before the time is over, TERM before it gives the machine to others."""
    bench.behave("train_base", "hang", times=1)

    def interrupt():
        wait_for(lambda: bench.hanging() == 2)
        subprocess.run(["scancel", f"--signal={number}", "-n", bench.folder.name, "-t", "RUNNING"], check=True)

    thread = threading.Thread(target=interrupt)
    thread.start()
    done = sweep("--retries", "0")
    thread.join()
    assert done.code == 0, done.out + done.err
    assert bench.saved() >= 2 and bench.calls().count(TREE.format("train_base", "CoOp")) == 2


def test_jobs_go_on_without_the_sweep_and_are_found_again(bench, sweep):
    bench.behave("train_base", "hang", times=1)

    def leave():
        wait_for(lambda: bench.hanging() == 2)
        os.kill(os.getpid(), 2)

    thread = threading.Thread(target=leave)
    thread.start()
    left = sweep()
    thread.join()
    assert left.code == 75 and "The jobs stay in Slurm" in left.err
    before = set(jobs(bench))
    assert len(before) == 4

    def release():
        time.sleep(3)
        assert set(jobs(bench)) == before  # nothing was submitted twice
        subprocess.run(["scancel", "--signal=USR2", "-n", bench.folder.name, "-t", "RUNNING"], check=True)

    thread = threading.Thread(target=release)
    thread.start()
    done = sweep()
    thread.join()
    assert done.code == 0 and len(bench.calls()) == 6


def test_an_unknown_option_is_one_sentence(bench, sweep):
    done = sweep("--slurm", "partitions=gpu")
    assert done.code == 2 and "partitions" in done.err and done.err.count("\n") == 1
