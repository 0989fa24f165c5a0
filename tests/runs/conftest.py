"""A small run of RESTORE_p on disk, as the reliability tests have it, and the record it leaves."""

import json
from types import SimpleNamespace

import pytest
import small_run

import train


@pytest.fixture(scope="session")
def command(tmp_path_factory):
    """train.py's command line of the small run, without --output-dir."""
    return small_run.prepare(tmp_path_factory.mktemp("small") / "run")


@pytest.fixture
def perform(command, capfd):
    """perform(directory, KEY, VALUE, ...) -> what the run with these options left in `directory`, and printed."""

    def run(directory, *options, code=0):
        capfd.readouterr()
        done = train.main([*command, "--output-dir", str(directory), *options])
        out, err = capfd.readouterr()
        assert done == code, err
        record = json.loads((directory / "metrics.json").read_text())
        return SimpleNamespace(record=record, out=out, err=err, directory=directory)

    return run
