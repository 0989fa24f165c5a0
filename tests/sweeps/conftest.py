"""A sweep in this process whose runs are a stand-in for train.py, quick and told how to behave."""

import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import sweep
from runs.record import begin_record, identify, write_config, write_record
from sweeps.plan import make_plan
from sweeps.processes import REPOSITORY
from sweeps.spec import read_spec, rows_of

# Notes its output directory, looks up in BEHAVE (pattern, what, how often) what to do, and else leaves what the run
# would: a copy from PREPARED.
STAND_IN = """#!/usr/bin/env bash
[[ $1 == train.py ]] || exec REAL "$@"
while (($# > 0)); do
    [[ $1 != --output-dir ]] || out=$2
    shift
done
echo "$out $CUDA_VISIBLE_DEVICES $OMP_NUM_THREADS" >>CALLS
count=$(grep -c "^$out " CALLS)
echo "log of attempt $count"
while read -r pattern what times; do
    [[ $out == *$pattern* && $count -le $times ]] || continue
    case $what in
        hang)
            trap 'sleep 0.3; echo "$out" >>"BEHAVE-saved"; exit 75' TERM
            touch "BEHAVE-hangs-$$"
            while :; do sleep 0.05; done ;;
        busy) echo "error: $out is in use by process 1 on a host; wait" && exit 2 ;;
        nothing) exit 0 ;;
        *) echo "error: it broke" && exit "$what" ;;
    esac
done <BEHAVE
mkdir -p "$(dirname "$out")"
cp -r "PREPARED/${out#OUTPUT/}" "$(dirname "$out")"
"""


class Bench:
    """One specification, its runs prepared, and the stand-in."""

    def __init__(self, folder: Path, capsys):
        self.folder, self.capsys = folder, capsys
        self.output, self.prepared = folder / "out", folder / "prepared"
        self.spec = folder / "small.yaml"
        self.calls_file, self.behave_file = folder / "calls", folder / "behave"
        self.behave_file.write_text("")
        self.calls_file.write_text("")
        self.python = folder / "python"
        text = STAND_IN.replace("REAL", sys.executable).replace("CALLS", str(self.calls_file))
        for word, path in {"BEHAVE": self.behave_file, "PREPARED": self.prepared, "OUTPUT": self.output}.items():
            text = text.replace(word, str(path))
        self.python.write_text(text)
        self.python.chmod(0o755)

    def write(self, text: str, root: str = "") -> "Bench":
        """Write the specification, and what its runs will leave."""
        self.spec.write_text(text)
        os.chdir(REPOSITORY)
        plan = make_plan(rows_of(read_spec(self.spec)), str(self.prepared), root)
        for run in plan.runs.values():
            directory = Path(run.directory)
            (directory / "prompts").mkdir(parents=True)
            cfg = plan.configs[run.directory]
            write_config(cfg, directory)
            if run.trains:
                for epoch in {1, run.epochs}:
                    (directory / "prompts" / f"model.pth.tar-{epoch}").write_text(run.directory)
            checkpoint = identify(Path(run.needs), run.epochs) if run.needs else None
            if checkpoint:
                checkpoint["directory"] = run.needs.replace(str(self.prepared), str(self.output))
            record = begin_record(cfg, "train" if run.trains else "eval", checkpoint)
            write_record(record | {"complete": True, "accuracy": 50.0, "wall_seconds": 2.0}, directory)
        self.plan = plan
        return self

    def run_at(self, place: str):
        """The run whose directory is `place` below the output."""
        run = self.plan.runs[f"{self.prepared}/{place}"]
        return replace(run, directory=f"{self.output}/{place}")

    def behave(self, pattern: str, what: str | int, times: int = 99) -> None:
        """What the runs whose directory holds `pattern` do at their first attempts."""
        with self.behave_file.open("a") as file:
            file.write(f"{pattern} {what} {times}\n")

    def arguments(self, *more: str) -> list[str]:
        """sweep.py's command line."""
        return [str(self.spec), "--output", str(self.output), "--python", str(self.python), *more]

    def __call__(self, *more: str) -> SimpleNamespace:
        """Do the sweep: `code`, `out`, `err`."""
        self.capsys.readouterr()
        code = sweep.main(self.arguments(*more))
        shown = self.capsys.readouterr()
        return SimpleNamespace(code=code, out=shown.out, err=shown.err)

    def environment(self) -> dict[str, str]:
        """For a script that shall use the stand-in."""
        clean = {key: os.environ[key] for key in ("PATH", "HOME", "PYTHONPATH") if key in os.environ}
        return clean | {"PYTHON": str(self.python)}

    def calls(self) -> list[str]:
        """The runs that were started, as directories below the output, in order."""
        return [line.split()[0].removeprefix(f"{self.output}/") for line in self.calls_file.read_text().splitlines()]

    def hanging(self) -> int:
        """How many runs have come to hang so far."""
        return len(list(self.folder.glob("behave-hangs-*")))

    def saved(self) -> int:
        """How many of them were asked to stop, and given the time."""
        file = self.folder / "behave-saved"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def forget(self, run: str) -> None:
        """Remove a run's directory."""
        shutil.rmtree(self.output / run)


@pytest.fixture
def bench(tmp_path, capsys, monkeypatch):
    """A `Bench`; signals and the working directory are put back after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATA", raising=False)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield Bench(tmp_path, capsys)
    for number, handler in handlers.items():
        signal.signal(number, handler)
