"""A small run on disk, and what it comes to when nothing disturbs it."""

import pytest
import small_run


@pytest.fixture(scope="session")
def command(tmp_path_factory):
    """train.py's command line of the small run, without --output-dir."""
    return small_run.prepare(tmp_path_factory.mktemp("small") / "run")


@pytest.fixture(scope="session")
def whole(command, tmp_path_factory):
    """Output directory of the run that nothing disturbed."""
    directory = tmp_path_factory.mktemp("whole") / "out"
    code, text = small_run.run([*command, "--output-dir", str(directory)], directory.parent / "printed")
    assert code == 0, text
    return directory
