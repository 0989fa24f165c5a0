"""What `pip install .` carries: every package, every embedded file, and metadata that names what is needed."""

import subprocess
import sys
from email.parser import Parser
from pathlib import Path

import pytest

import promptclip.common.packages as needs

REPOSITORY = Path(__file__).parents[1]
NOT_SHIPPED = {"tests", "benchmarks", "docs", "output"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The files that installing would put in place, and the metadata, without a trace in the repository."""
    target = tmp_path_factory.mktemp("built")
    steps = ["egg_info", "--egg-base", str(target), "build_py", "--build-lib", str(target / "lib")]
    command = [sys.executable, "setup.py", "-q", *steps]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def packages():
    """The folders of the packages that are installed."""
    return [path.parent for path in REPOSITORY.glob("*/__init__.py") if path.parent.name not in NOT_SHIPPED]


def test_every_package_and_module_is_carried(built):
    sources = [file for package in packages() for file in package.rglob("*.py")] + list(REPOSITORY.glob("*.py"))
    expected = {str(file.relative_to(REPOSITORY)) for file in sources} - {"setup.py"}
    carried = {str(file.relative_to(built / "lib")) for file in built.rglob("*.py")}
    assert {"train.py", "parse_test_res.py", "runs/run.py", "report/records.py"} <= expected
    assert expected <= carried


def test_every_data_file_is_carried(built):
    made_by_runs = {"__pycache__", "split_fewshot"}
    files = [file for package in packages() for file in package.rglob("*") if file.is_file() and file.suffix != ".py"]
    names = [file.relative_to(REPOSITORY) for file in files if not made_by_runs & set(file.parts)]
    left_behind = [str(name) for name in names if not (built / "lib" / name).is_file()]
    assert names
    assert not left_behind, f"package_data in setup.py misses {left_behind[:5]}"


def test_the_metadata_names_what_is_needed(built):
    info = next(built.glob("*.egg-info"))
    metadata = Parser().parsestr((info / "PKG-INFO").read_text())
    requirements = " ".join(metadata.get_all("Requires-Dist"))
    for module in set(needs.COMMANDS) - {"dassl"}:  # Dassl is the user's choice: ours or upstream's
        assert module in requirements
    assert "dassl" not in requirements
    assert metadata["Requires-Python"] == ">=3.10"
