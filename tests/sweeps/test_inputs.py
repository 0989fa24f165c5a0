"""What a sweep's runs need is looked at before any of them starts: data roots, lists, images, weights, paths."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from datasets.image_folder import ImageFolder

CLASSES = ("cat", "dog", "owl", "ant")


def plant(folder: Path) -> Path:
    """A folder per class with a few images, divided into train and test."""
    for part in ("train", "test"):
        for name in CLASSES:
            (folder / part / name).mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (8, 8)).save(folder / part / name / f"{number}.png")
    return folder


@pytest.fixture
def own(bench, tmp_path):
    """A bench whose specification is about images of one's own, in `tmp_path`/data."""
    (tmp_path / "mine.yaml").write_text("DATASET: {NAME: ImageFolder}\n")
    bench.root = plant(tmp_path / "data")
    return bench.write(
        "{trainers: [CoOp, VPT], config: emojiclip, "
        f"dataset: {tmp_path}/mine.yaml, seeds: [1, 2], shots: 1, name: own}}",
        root=str(bench.root),
    )


def refused(done, *sentences):
    """Whether a sweep ended before anything started, with one line for each of these sentences."""
    lines = done.err.splitlines()
    assert done.code == 2 and len(lines) == len(sentences), done.err
    return all(line.startswith("error: ") and text in line for line, text in zip(lines, sentences, strict=True))


def test_a_data_root_that_is_not_there(own):
    assert refused(own("--root", "/nowhere"), "There is no data root /nowhere")
    assert own.calls() == [] and not own.output.exists()


def test_the_script_refuses_it_too(own, tmp_path):
    done = subprocess.run(
        ["bash", "scripts/restore/sweep.sh", "dtd"],
        env=own.environment() | {"DATA": "/nowhere", "OUTPUT": str(own.output), "CFG": "emojiclip"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2 and "There is no data root /nowhere" in done.stderr
    assert own.calls() == [] and not own.output.exists()


def test_every_data_set_that_cannot_be_used_is_named(own, tmp_path):
    (tmp_path / "dtd").mkdir()
    (tmp_path / "dtd/split_zhou_DescribableTextures.json").write_text('{"train": []}')
    own.spec.write_text("{trainer: CoOp, config: vit_b16_ep50, datasets: [dtd, eurosat], name: own}")
    done = own("--root", str(tmp_path), "configs=emojiclip")
    assert refused(done, "split_zhou_DescribableTextures.json must hold three lists", f"Expected in {tmp_path}/eurosat")
    assert own.calls() == []


def test_images_that_a_list_names_and_are_not_there(own, tmp_path):
    (tmp_path / "dtd/images").mkdir(parents=True)
    parts = {part: f"{number}.jpg" for number, part in enumerate(("train", "val", "test"))}
    entries = {
        part: [[f"{name}/{image}", label, name] for label, name in enumerate(CLASSES)] for part, image in parts.items()
    }
    split = json.dumps(entries)
    (tmp_path / "dtd/split_zhou_DescribableTextures.json").write_text(split)
    own.spec.write_text("{trainer: CoOp, config: emojiclip, dataset: dtd, name: own}")
    assert refused(own("--root", str(tmp_path)), f"there is no {tmp_path}/dtd/images/cat/0.jpg")


def test_weights_that_are_not_weights(own, tmp_path):
    weights = tmp_path / "clip.pt"
    weights.write_bytes(b"not a checkpoint")
    done = own("--root", str(own.root), f"MODEL.BACKBONE.NAME={weights}")
    assert refused(done, f"{weights} cannot be read as CLIP's weights")


def test_each_data_set_is_opened_once_and_no_shots_are_drawn(own, monkeypatch):
    opened = []
    read = ImageFolder.read
    monkeypatch.setattr(
        ImageFolder, "read", lambda self, *args: opened.append(self.cfg.DATASET.NUM_SHOTS) or read(self, *args)
    )
    assert own("--root", str(own.root)).code == 0
    assert opened == [-1] and len(own.calls()) == 8


def test_finished_runs_need_no_data(own):
    assert own("--root", str(own.root)).code == 0
    shutil.rmtree(own.root / "train")
    done = own("--root", str(own.root))
    assert done.code == 0 and "8 done before" in done.out


def test_a_dry_run_needs_no_data(own):
    done = own("--root", "/nowhere", "--dry-run")
    assert done.code == 0 and len(done.out.splitlines()) == 8


def test_home_directories_that_the_shell_left_alone(own, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    done = own("--root", "~/data", "--output", "~/out")
    assert done.code == 0, done.out + done.err
    assert len(own.calls()) == 8 and not Path("~").exists()


def test_the_embedded_benchmark_beside_a_data_root(own):
    own.spec.write_text("{trainer: CoOp, dataset: emojinet, seed: 1, subset: base, name: own}")
    assert "--root '' " in own("--root", str(own.root), "--dry-run").out


@pytest.mark.parametrize(
    "option, sentence", [("--output", "--output is empty"), ("--python", "there is no interpreter")]
)
def test_options_that_name_nothing(own, option, sentence):
    assert refused(own("--root", str(own.root), option, ""), sentence)


def test_an_interpreter_that_is_not_there(own):
    assert refused(
        own("--root", str(own.root), "--python", "no-such-python"), "there is no interpreter 'no-such-python'"
    )


def test_an_interpreter_beside_the_caller(own, monkeypatch):
    monkeypatch.chdir(own.folder)
    assert own("--root", "data", "--python", "./python").code == 0


def test_two_files_of_one_name_would_share_directories(own, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.yaml").write_text("DATASET: {NAME: ImageFolder, TEMPLATE: 'a drawing of a {}.'}\n")
    own.spec.write_text(
        own.spec.read_text()
        .replace("dataset:", f"datasets: [{tmp_path}/other/mine.yaml,")
        .replace("mine.yaml, seeds", "mine.yaml], seeds")
    )
    done = own("--root", str(own.root))
    assert refused(done, f"{tmp_path}/other/mine.yaml and {tmp_path}/mine.yaml would both be called mine")


def test_a_file_named_like_a_known_data_set_does_not_pass_for_it(own, tmp_path):
    (tmp_path / "emojinet.yaml").write_text("DATASET: {NAME: ImageFolder}\n")
    own.spec.write_text(f"{{trainer: CoOp, datasets: [emojinet, {tmp_path}/emojinet.yaml], name: own}}")
    assert refused(own("--root", str(own.root)), "would both be called emojinet")


def test_another_data_root_is_another_data_set(own, tmp_path):
    """One yaml file, two folders of images, one output: the second is refused, nothing of the first is shown for it."""
    assert own("--root", str(own.root)).code == 0
    done = own("--root", str(plant(tmp_path / "more")))
    assert done.code == 1 and "another configuration (DATASET.ROOT" in done.out
    assert len(own.calls()) == 8
    records = [json.loads(path.read_text()) for path in own.output.rglob("metrics.json")]
    assert {record["config"]["DATASET"]["ROOT"] for record in records} == {str(own.root)}
