"""What `pip install .` puts into an environment: one package with its data, one command, metadata that is complete."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

from promptclip import cli
from promptclip.common.names import COMMANDS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with what the wheel of a copy of the repository holds; the repository keeps no trace of it."""
    copy, site = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("site")
    for file in [*ROOT.glob("*.py"), *(ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE"))]:
        shutil.copy(file, copy)
    for package in ROOT.glob("*/__init__.py"):
        ignored = shutil.ignore_patterns("__pycache__", "embedded")
        shutil.copytree(package.parent, copy / package.parent.name, ignore=ignored)
    left_by_an_earlier_version = copy / "build" / "lib" / "datasets" / "__init__.py"
    left_by_an_earlier_version.parent.mkdir(parents=True)
    left_by_an_earlier_version.touch()
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--wheel-dir", str(site)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(copy)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = site.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    wheel.unlink()
    return site


@pytest.fixture(scope="module")
def info(site):
    """The wheel's metadata folder."""
    return next(site.glob("*.dist-info"))


def test_one_package_and_nothing_else(site, info):
    assert {path.name for path in site.iterdir()} == {"promptclip", info.name}
    assert (info / "top_level.txt").read_text().split() == ["promptclip"]


def test_every_module_and_data_file_is_carried(site):
    files = [path.relative_to(ROOT) for path in (ROOT / "promptclip").rglob("*") if path.is_file()]
    wanted = {str(path) for path in files if "__pycache__" not in path.parts}
    carried = {str(path.relative_to(site)) for path in (site / "promptclip").rglob("*") if path.is_file()}
    assert "promptclip/weights/emojiclip.pt" in wanted
    assert carried == wanted, "package-data in pyproject.toml names what is carried besides Python files"


def test_the_metadata_is_complete(info):
    metadata = Parser().parsestr((info / "METADATA").read_text())
    required = {re.match(r"[\w-]+", entry)[0] for entry in metadata.get_all("Requires-Dist") if "extra ==" not in entry}
    distributions = {"clip": "clip-anytorch"}
    for module in COMMANDS.keys() - {"dassl"}:  # Dassl is the user's choice: ours or upstream's
        assert distributions.get(module, module) in required
    assert "dassl" not in required
    assert {"hub", "export", "serve", "slurm", "report", "tracking", "open-clip", "test"} == set(
        metadata.get_all("Provides-Extra")
    )
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "MIT" and (info / "licenses" / "LICENSE").is_file()


def test_the_version_is_the_same_everywhere(info):
    metadata = Parser().parsestr((info / "METADATA").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert metadata["Version"] == cli.VERSION == citation["version"]


def run(site, *arguments, before=()):
    """Python's output with the installed package first in its path, run where nothing of the checkout is in reach."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*before, site]))}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=site.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_other_packages_called_datasets_stay_what_they_are(site, tmp_path):
    (tmp_path / "datasets.py").write_text("load_dataset = 'theirs'\n")
    code = "import promptclip, datasets; print(datasets.load_dataset, promptclip.load_clip('EmojiCLIP').vocab_size)"
    assert run(site, "-c", code, before=[tmp_path]) == "theirs 49408\n"


def test_the_console_command(site, info):
    assert (info / "entry_points.txt").read_text() == "[console_scripts]\npromptclip = promptclip.cli:main\n"
    assert run(site, "-m", "promptclip", "--version") == f"promptclip {cli.VERSION}\n"
    code = "import sys; from promptclip.cli import main\ntry: main(['--help'])\nfinally: print('torch' in sys.modules)"
    shown = run(site, "-c", code)
    assert "backbones" in shown and shown.endswith("\nFalse\n")


def test_backbones_tells_where_weights_are(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / ".cache" / "clip" / "ViT-B-16.pt"
    file.parent.mkdir(parents=True)
    file.touch()
    assert cli.main(["backbones"]) == 0
    listed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert listed["EmojiCLIP"].endswith("embedded") and listed["ViT-B/16"].endswith(str(file))
    assert "not downloaded" in listed["RN50"] and "102 M  MIT" in listed["RN50"]


def test_what_is_missing_is_told_in_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr("promptclip.common.names.find_spec", lambda name: None)
    assert cli.main(["backbones"]) == 2
    assert "run `pip install ./dassl-core .`" in capsys.readouterr().err
