"""What rebuilds the embedded data sets: the committed files are those of the manifest; wrong input is told."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "demo"


@pytest.fixture(scope="module")
def script():
    """demo/build_emojinet.py as a module; it finds its helper beside itself, as when it is run."""
    sys.path.insert(0, str(DEMO))
    try:
        spec = importlib.util.spec_from_file_location("build_emojinet", DEMO / "build_emojinet.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(DEMO))


def member(group, code):
    return {"group": group, "code": code, "subgroup": "tool", "slug": code}


def test_the_committed_files_are_those_of_the_manifest(script, capsys):
    assert script.main(["--verify"]) == 0
    assert "emojinet: 2267 files" in capsys.readouterr().out


def test_a_changed_file_is_noticed(script, tmp_path, capsys):
    source = DEMO.parent / "datasets" / "embedded" / "emojinet_mono"
    shutil.copytree(source, tmp_path / "emojinet_mono")
    next((tmp_path / "emojinet_mono" / "images" / "tool").glob("*.png")).write_bytes(b"")
    assert script.main(["--verify", "--out", str(tmp_path)]) == 1
    assert "emojinet_mono: 496 files" in (out := capsys.readouterr().out)
    assert out.count("NOT as in the manifest") == 2  # and emojinet is not there at all


def test_differences_name_each_file(script):
    new = {"a/split_zhou_A.json": b"1", "a/b.json": b"2", "a/c.json": b"3"}
    there = {"a/split_zhou_A.json": b"1", "a/b.json": b"x", "a/d.json": b"4"}
    assert script.differences(new, there) == ["a/d.json: not made here", "a/b.json: different", "a/c.json: missing"]


def test_pictures_that_differ_in_packing_only_are_told_apart(script):
    png = next((DEMO.parent / "datasets" / "embedded").glob("emojinet/images/tool/*.png")).read_bytes()
    image = script.Image.open(script.io.BytesIO(png))
    packed = script.io.BytesIO()
    image.save(packed, "PNG", compress_level=0)
    assert "Pillow" in script.differences({"a.png": png}, {"a.png": packed.getvalue()})[0]


@pytest.mark.parametrize("n", [13, 16, 20, 30, 82])
def test_split_gives_sixteen_shots_and_keeps_motifs_together(script, n):
    members = [member(f"motif {i // 3 if n > 24 else i}", f"{i:04x}") for i in range(n)]
    parts = script.split(members)
    assert sum(map(len, parts.values())) == n
    assert len(parts["train"]) >= 8 and len(parts["val"]) >= 2 and len(parts["test"]) >= 3
    groups = [{m["group"] for m in part} for part in parts.values()]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert parts == script.split(members[::-1])  # nothing depends on the order in which emoji are listed


def test_man_woman_and_person_of_one_motif_are_one_group(script, monkeypatch):
    labels = ["mechanic", "man mechanic", "woman mechanic", "man: beard", "woman: beard", "prince", "princess", "axe"]
    data = [{"label": text, "hexcode": f"{i:X}", "subgroup": 0} for i, text in enumerate(labels)]
    icons = {"icons": {text: {} for text in labels}}
    files = {
        "chars.json": {f"{i:x}": text for i, text in enumerate(labels)},
        "icons.json": icons,
        "meta/groups.json": {"subgroups": {"0": "all"}},
        "en/data.json": data,
    }
    monkeypatch.setattr(script, "read_json", lambda _, name: files[name])
    groups = [one["group"] for one in script.emoji(dict.fromkeys(["color", "flat", "mono", "names"]))]
    assert groups == ["mechanic"] * 3 + ["beard"] * 2 + ["prince"] * 2 + ["axe"]


def test_an_archive_that_is_not_the_pinned_one_is_refused(script, tmp_path, monkeypatch):
    def npm(command, **_):
        (tmp_path / "emojibase-data-1.0.0.tgz").write_bytes(b"something else")

    monkeypatch.setattr(sys.modules["npm_packages"].subprocess, "run", npm)
    with pytest.raises(RuntimeError, match="SHA-256 .* instead of 00; delete it"):
        script.fetch("emojibase-data", "1.0.0", "00", tmp_path)


def test_without_npm_it_says_what_to_install(script, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="npm is missing; install Node.js"):
        script.fetch("emojibase-data", "1.0.0", "00", tmp_path)


def test_the_classes_are_forty_distinct_ones_of_distinct_subgroups():
    classes = json.loads((DEMO / "emojinet_classes.json").read_text())
    subgroups = [name for names in classes.values() for name in names]
    assert len(classes) == 40 and len(set(subgroups)) == len(subgroups)
