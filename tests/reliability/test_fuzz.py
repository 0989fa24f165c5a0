"""Every reader of files against damaged ones: it reads, or refuses in one sentence; no crash, no hang, no blow-up."""

import csv
import io
import json
import os
import pickle
import resource
import shutil
import time
import traceback
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import clip.model
import numpy as np
import pytest
import recipe
import small_run
import torch
from archives import tar_of, zip_of
from dassl.data.datasets import Datum
from dassl.engine import TrainerBase
from dassl.utils import read_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import at_most, damage, damaged
from PIL import Image, features
from small_clip import as_openais
from torch import nn

from datasets.base import sample_counts
from datasets.fewshot import match, read_pickle
from datasets.files import read_mapping
from datasets.image_list import ImageList, read_rows
from datasets.imagenet import read_classnames
from datasets.matlab import read_matlab
from datasets.prepare.check import fault
from datasets.prepare.show import tile
from datasets.prepare.unpack import unpack
from datasets.splits import PARTS, check_classes, check_images, check_names, read_split
from promptclip import load_clip
from report.logs import TRAINED, read_result, read_run
from report.records import read_record as read_reports_record
from runs.config import default_config, merge_file
from runs.history import read_history
from runs.record import read_config, read_record
from train import sentence

REPOSITORY = Path(small_run.train.__file__).parent
# as small as a CLIP can be, so that ten thousand are soon built
SIZES = recipe.COMMON | {
    **{"embed_dim": 8, "image_resolution": 32, "vision_layers": 1, "vision_width": 64, "vision_patch_size": 16},
    **{"transformer_width": 64, "transformer_heads": 1, "transformer_layers": 1, "vocab_size": 30},
    **{"context_length": 8},
}


class Resumer(TrainerBase):
    """The part of a trainer that saves and resumes, with one small model."""

    def __init__(self):
        super().__init__()
        model = nn.Linear(3, 2)
        optim = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for parameter in model.parameters():  # no backward pass: after one on another device, a forked child has none
            parameter.grad = torch.ones_like(parameter)
        optim.step()
        sched = torch.optim.lr_scheduler.CosineAnnealingLR(optim, 5)
        self._models, self._optims, self._scheds = ({"m": part} for part in (model, optim, sched))
        self.epoch = 1

    def get_model_names(self):
        return list(self._models)


def checkpoint(folder):
    Resumer().save_model(0, str(folder))
    return [folder / "m" / "model.pth.tar-1"]


def read_checkpoint(path):
    resumer = Resumer()
    resumer.resume_model_if_exist(str(path.parents[1]))
    resumer.restore_rng()


class Archive(nn.Module):
    """CLIP's state under CLIP's names in a module that can be traced."""

    def __init__(self, model):
        super().__init__()
        self.visual, self.transformer = model.visual, model.transformer
        for name in ("token_embedding", "positional_embedding", "ln_final", "text_projection", "logit_scale"):
            setattr(self, name, getattr(model, name))
        for name, value in as_openais({}).items():
            self.register_buffer(name, value)

    def forward(self, images):
        return self.visual(images)


def clip_files(folder):
    model = clip.model.CLIP(**SIZES).eval()
    torch.save(as_openais(model.state_dict()), folder / "state.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Archive(model), torch.zeros(1, 3, 32, 32)).save(str(folder / "archive.pt"))
    return [folder / "state.pt", folder / "archive.pt"]


def images(folder):
    kinds = ["jpg", "png", "gif", "bmp", "ppm", "tiff"] + ["webp"] * features.check("webp")
    for kind in kinds:
        Image.linear_gradient("L").resize((24, 20)).convert("RGB").save(folder / f"picture.{kind}")
    return [folder / f"picture.{kind}" for kind in kinds]


def parts(folder):
    items = [Datum(str(folder / f"{k}/{n}.jpg"), k, classname=f"class {k}") for k in range(3) for n in range(5)]
    return {"train": items, "val": items[::2], "test": items[1::2]}


def split(folder):
    rows = {key: [[f"{key}{n}.jpg", d.label, d.classname] for n, d in enumerate(i)] for key, i in parts(folder).items()}
    (folder / "split.json").write_text(json.dumps(rows))
    return [folder / "split.json"]


def read_a_split(path):
    lists = read_split(path, path.parent)
    for check in (check_classes, check_names, check_images):
        check(lists, str(path))


def cache(folder):
    drawn = {key: items[::-1] for key, items in parts(folder).items() if key != "test"}
    for protocol in (2, 4):
        (folder / f"shots-{protocol}.pkl").write_bytes(pickle.dumps(drawn, protocol=protocol))
    return [folder / "shots-2.pkl", folder / "shots-4.pkl"]


def read_cache(path):
    whole = {key: parts(path.parent)[key] for key in ("train", "val")}
    match(read_pickle(path), whole, sample_counts(5), path, path.parent)


def lists(folder):
    names = "n01440764 tench\nn01443537 goldfish\nn01484850 great white shark\n"
    rows = "path,class,split\na/1.jpg,red fox,train\nb/2.jpg,owl,test\n"
    (folder / "classnames.txt").write_text(names)
    (folder / "images.csv").write_text(rows)
    (folder / "images.jsonl").write_text('{"path": "a/1.jpg", "class": "owl", "split": "train"}\n' * 3)
    return [folder / "classnames.txt", folder / "images.csv", folder / "images.jsonl"]


def read_list(path):
    read_classnames(path) if path.suffix == ".txt" else list(read_rows(path))


def configs(folder):
    for n, file in enumerate(("configs/trainers/base.yaml", "configs/datasets/emojinet.yaml")):
        (folder / f"{n}.yaml").write_bytes((REPOSITORY / file).read_bytes())
    return [folder / "0.yaml", folder / "1.yaml"]


DEFAULTS = default_config()


def read_yaml_config(path):
    merge_file(DEFAULTS.clone(), path)


def records(folder):
    (folder / "config.yaml").write_text("OPTIM:\n  LR: 0.1\nINPUT:\n  SIZE: [8, 8]\n")
    (folder / "metrics.json").write_text('{"complete": true, "accuracy": 50.0, "checkpoint": {"sha256": {"m": "ab"}}}')
    return [folder / "config.yaml", folder / "metrics.json"]


def read_run_record(path):
    (read_config if path.suffix == ".yaml" else read_record)(path.parent)


@pytest.fixture
def memory():
    """Refuse the process more than 3 GB on top of what it has, and fail if it came to use more than 1 GB of them."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if os.path.exists("/proc/self/statm") else 0
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 3 * 2**30, limits[1]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)
    if pages:  # Linux, where the unit is kilobytes
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20


def archives(folder):
    files = {f"images/{n}.txt": b"content " * 40 for n in range(3)}
    (folder / "set.zip").write_bytes(zip_of(files))
    (folder / "set.tar.gz").write_bytes(tar_of(files))
    (folder / "set.tar").write_bytes(tar_of(files, "w"))
    return [folder / "set.zip", folder / "set.tar.gz", folder / "set.tar"]


def read_archive(path):
    """As `fetch` does; nothing may come to lie beside the target."""
    target = path.parent / "unpacked" / "here"
    try:
        unpack(path, target)
    finally:
        written = {file.name for file in path.parent.iterdir() if file.suffix not in (".zip", ".gz", ".tar")}
        assert written <= {"unpacked"} and {file.name for file in (path.parent / "unpacked").glob("*")} <= {"here"}
        shutil.rmtree(path.parent / "unpacked", ignore_errors=True)


def log(folder):
    lines = ["eval_only: False", "model_dir: ", "** Config **", "***", "DATASET:", "  NAME: OxfordPets", "SEED: 1"]
    lines += ["TRAINER:", "  NAME: CoOp", "Collecting env info", "epoch [1/1] batch [1/1] loss 1.0 (1.0)"]
    lines += ["Finish training", "=> result", "* total: 6", "* accuracy: 50.0%", "* macro_f1: 40.0%"]
    (folder / "log.txt").write_text("\n".join(lines) + "\n")
    return [folder / "log.txt"]


def read_log(path):
    """As the report and parse_test_res.py do."""
    read_result(path, "accuracy", TRAINED)
    facts = read_run(path.parent, path.parent)
    if facts is None:
        raise ValueError(f"{path} has come to no result.")


def report_records(folder):
    record = {"schema": 3, "complete": True, "accuracy": 50.0, "trainer": "CoOp", "dataset": "OxfordPets", "seed": 1}
    record |= {"mode": "train", "subsample_classes": "all", "shots": 4, "backbone": "ViT-B/16", "config": {"SEED": 1}}
    (folder / "metrics.json").write_text(json.dumps(record | {"checkpoint": {"directory": "a", "epoch": 1}}))
    (folder / "history.json").write_text(json.dumps([{"epoch": 1, "seconds": 1.0, "images_per_second": 2.0}] * 3))
    return [folder / "metrics.json", folder / "history.json"]


def read_reported(path):
    """As the report does, which leaves a damaged record out and says so; and the history as a resumed run does."""
    if path.name == "history.json":
        read_history(path)
    elif read_reports_record(path) is None:
        raise ValueError(f"{path} is left out.")


def shown(path):
    """As `datasets.prepare` check and show do."""
    fault(str(path))
    tile(str(path))


def odd_images(folder):
    """Kinds that other programs write and few read."""
    grey = Image.linear_gradient("L").resize((24, 20))
    grey.convert("1").save(folder / "one-bit.png")
    grey.convert("P").save(folder / "palette.gif")
    grey.convert("CMYK").save(folder / "cmyk.tif", compression="tiff_lzw")
    grey.convert("I").point(lambda value: value * 200).convert("I;16").save(folder / "16-bit.png")
    grey.convert("RGB").save(folder / "progressive.jpg", progressive=True)
    Image.merge("RGBA", [grey] * 4).save(folder / "transparent.png")
    return sorted(folder.glob("*.*"))


def matlab(folder):
    from scipy.io import savemat

    for compress in (False, True):
        rows = np.empty((1, 2), dtype=[("class", object), ("fname", object)])
        rows[0, 0], rows[0, 1] = (1, "00001.jpg"), (2, "00002.jpg")
        names = np.array([["red fox", "owl"]], dtype=object)
        values = {"labels": list(range(40)), "class_names": names, "annotations": rows}
        savemat(folder / f"compressed-{compress}.mat", values, do_compression=compress)
    return sorted(folder.glob("*.mat"))


def mapping(folder):
    (folder / "names.json").write_text(json.dumps({str(n): f"class {n}" for n in range(9)}))
    return [folder / "names.json"]


READERS = {
    "checkpoint": (checkpoint, read_checkpoint),
    "CLIP's weights": (clip_files, lambda path: load_clip(str(path))),
    "image": (images, lambda path: read_image(str(path))),
    "image, shown": (images, shown),
    "image of another kind, shown": (odd_images, shown),
    "split file": (split, read_a_split),
    "few-shot sample": (cache, read_cache),
    "class and image lists": (lists, read_list),
    "class names": (mapping, read_mapping),
    "MATLAB list": (
        matlab,
        lambda path: [read_matlab(path, name) for name in ("labels", "class_names", "annotations")],
    ),
    "archive": (archives, read_archive),
    "yaml": (configs, read_yaml_config),
    "record of a run": (records, read_run_record),
    "record in a report": (report_records, read_reported),
    "log": (log, read_log),
}


def in_child(work):
    """What work() returns in a process of its own, which may take 1 GB on top of this one's, and its growth in MB."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[0]) if os.path.exists("/proc/self/statm") else 0
            if pages:
                resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**30,) * 2)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            result = work()
            result["megabytes"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
        except BaseException:
            result = {"error": traceback.format_exc()[-3000:]}
        os.write(writer, json.dumps(result).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        answer = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert answer, f"the process ended with {code}"
    result = json.loads(answer)
    assert "error" not in result, result["error"]
    return result


@pytest.mark.parametrize("name", READERS)
def test_damaged_files(name, tmp_path, capsys):
    """Each input in 10 s, all of a reader in little memory, and each is read or refused in one sentence."""
    make, read = READERS[name]
    files = make(tmp_path)
    whole = {path: path.read_bytes() for path in files}
    for path in files:
        read(path)  # what is damaged below is good before
    tally = {"read": 0, "refused": 0, "slowest": 0.0}

    @settings(
        max_examples=small_run.count(50, 10_000),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(harm=damage)
    def check(harm):
        path = files[(tally["read"] + tally["refused"]) % len(files)]
        path.write_bytes(damaged(whole[path], harm))
        started = time.perf_counter()
        try:
            with at_most(10), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(path)
            tally["read"] += 1
        except (ValueError, LookupError, OSError) as error:
            told = sentence(error)
            assert path.name in told or type(error).__name__ == "CheckpointError", told
            assert len(told) < 3000, told
            tally["refused"] += 1
        finally:
            tally["slowest"] = max(tally["slowest"], time.perf_counter() - started)
            path.write_bytes(whole[path])

    def work():
        check()
        return tally

    result = in_child(work)
    capsys.readouterr()
    with capsys.disabled():
        if small_run.FULL:
            print(
                f"\n{name}: {result['read']:,} read, {result['refused']:,} refused; slowest {result['slowest']:.2f} s, "
                f"{result['megabytes']} MB more than before"
            )
    assert result["refused"] > (result["read"] + result["refused"]) / 20
    assert result["megabytes"] < (900 if name.startswith("image") else 300)  # an image may have 90 million pixels


# ---- bombs and programs ----


def test_an_image_that_would_unfold_to_gigabytes(tmp_path, memory):
    header = b"P6 60000 60000 255\n"
    (tmp_path / "bomb.ppm").write_bytes(header + b"\0" * 100)
    with pytest.raises(ValueError, match="bomb.ppm"):
        read_image(str(tmp_path / "bomb.ppm"))
    Image.new("1", (12_000, 12_000)).save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"bomb.png.*12000 x 12000 pixels are more than 90,000,000"):
        read_image(str(tmp_path / "bomb.png"))


def test_an_image_that_is_a_program(tmp_path):
    """Pillow would start Ghostscript on it."""
    program = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({tmp_path}/ran) (w) file closefile\nshowpage\n"
    (tmp_path / "picture.jpg").write_text(program)
    with pytest.raises(ValueError, match="picture.jpg.*cannot identify"):
        read_image(str(tmp_path / "picture.jpg"))
    assert not (tmp_path / "ran").exists()


def test_a_yaml_file_that_would_unfold(tmp_path, memory):
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (tmp_path / "bomb.yaml").write_text("\n".join(rows) + "\nINPUT: {SIZE: *a11}\n")
    with at_most(20), pytest.raises(ValueError, match="bomb.yaml is not a yaml file: aliases"):
        read_yaml_config(tmp_path / "bomb.yaml")


@pytest.mark.parametrize("read", [read_checkpoint, lambda path: load_clip(str(path))])
def test_an_archive_that_would_unfold(tmp_path, memory, read):
    checkpoint(tmp_path)
    path = tmp_path / "m" / "model.pth.tar-1"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}.")
        with archive.open("x/data/0", "w", force_zip64=True) as file:
            for _ in range(1024):
                file.write(bytes(2**20))
    with at_most(20), pytest.raises(ValueError, match="larger than the file|far more than the file"):
        read(path)


def test_weights_whose_sizes_would_not_fit_in_memory(tmp_path, memory):
    state = clip.model.CLIP(**SIZES).state_dict()
    huge = {
        "positional_embedding": torch.zeros(200_000, state["positional_embedding"].shape[1]),
        "token_embedding.weight": torch.zeros(1, 1).expand(2**36, 64),
    }
    for key, value in huge.items():
        torch.save(OrderedDict(as_openais(state) | {key: value}), tmp_path / "huge.pt")
        with at_most(20), pytest.raises(ValueError, match="do not fit together|larger than the file"):
            load_clip(str(tmp_path / "huge.pt"))


@pytest.mark.parametrize("bomb", [b"\x80\x02}r\xff\xff\xff\x7f.", b"\x80\x05\x96\x00\x00\x00\x80\x00\x00\x00\x00."])
def test_a_pickle_that_would_ask_for_gigabytes(tmp_path, memory, bomb):
    """A place in a table of two billion; an array of two billion bytes."""
    (tmp_path / "shots.pkl").write_bytes(bomb)
    with at_most(20), pytest.raises(ValueError, match="shots.pkl"):
        read_cache(tmp_path / "shots.pkl")
    path = clip_files(tmp_path)[1]
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, bomb if name.endswith("/data.pkl") else old.read(name))
    with at_most(20), pytest.raises(ValueError, match="archive.pt"):
        load_clip(str(path))


class Payload:
    """Would create a file if it were unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("what", ["CLIP's weights", "few-shot sample", "checkpoint"])
def test_a_payload_is_not_run(tmp_path, what):
    make, read = READERS[what]
    evil = pickle.dumps({"state_dict": Payload(tmp_path / "ran"), "train": [Payload(tmp_path / "ran")]}, protocol=2)
    for path in make(tmp_path):
        content = path.read_bytes()
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(path, "w") as new:
                for name in old.namelist():
                    new.writestr(name, evil if name.endswith("/data.pkl") else old.read(name))
        else:
            path.write_bytes(evil)
        with pytest.raises(ValueError, match=r"(io|builtins|_io)\.?.?open"):
            read(path)
        assert not (tmp_path / "ran").exists()
    pickle.loads(evil)["state_dict"].close()
    assert (tmp_path / "ran").exists()  # it would have worked


@pytest.mark.parametrize("what", ["code/__torch__.py", "constants.pkl"])
def test_the_code_of_an_archive_is_not_looked_at(tmp_path, what):
    path = clip_files(tmp_path)[1]
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"nonsense" if name.endswith(what) else old.read(name))
    assert load_clip(str(path)).visual.input_resolution == 32


# ---- files that are whole and mean something else ----


label = st.one_of(st.integers(0, 4), st.integers(-2, 2**80), st.sampled_from([True, None, 1.0, 1e300, "0", [], {}]))


@settings(max_examples=small_run.count(200, 10_000), derandomize=True, database=None, deadline=None)
@given(labels=st.lists(label, min_size=1, max_size=12))
def test_labels_of_any_size(tmp_path_factory, labels):
    """Either one sentence, or classes that count from 0 and are no more than the images."""
    path = tmp_path_factory.getbasetemp() / "labels.json"
    rows = [[f"{n}.jpg", label, f"class {label}"] for n, label in enumerate(labels)]
    test = [[f"test{n}.jpg", *row[1:]] for n, row in enumerate(rows[:3])]
    path.write_text(json.dumps({"train": rows, "val": [], "test": test}))
    with at_most(10):
        try:
            items = read_split(path, path.parent)
            check_classes(items, str(path))
        except ValueError as error:
            assert "labels.json" in sentence(error) and len(sentence(error)) < 3000
        else:
            assert {item.label for item in items["train"]} == set(range(len(set(labels))))


words = {
    "path": ["path", "Path", "image", "file"],
    "class": ["class", "Class", "label"],
    "split": ["split", "Split", "set"],
}
columns = st.lists(st.sampled_from([*words, *words, *(word for known in words.values() for word in known)]), max_size=4)
CELLS = ["1.png", "2.png", "./1.png", "link.png", "gone.png", "../1.png", "cat", "Cat", "dog", "big cat", "big_cat"]
CELLS += ["train", "test", "val", "Train", "tset", "", " ", "a,b", 'a"b', "a\nb", "\0"]
cell = st.sampled_from(CELLS)
usual = st.tuples(
    st.sampled_from(["1.png", "2.png", "3.png", "4.png"]), st.sampled_from(["cat", "dog"]), st.sampled_from(PARTS)
)
a_list = st.tuples(
    st.one_of(st.just(list(words)), columns),
    st.lists(st.one_of(usual.map(list), st.lists(cell, max_size=4)), max_size=6),
)


@settings(
    max_examples=small_run.count(300, 10_000),
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(content=a_list, kind=st.sampled_from(["csv", "jsonl"]))
def test_lists_that_mean_something_else(content, kind, tmp_path_factory):
    """Either one sentence, or every row is in the list it says, no image in two, no class under two names."""
    folder = tmp_path_factory.getbasetemp() / "listed"
    if not folder.exists():
        folder.mkdir()
        for n in range(1, 5):
            Image.new("L", (4, 4), n).save(folder / f"{n}.png")
        (folder / "link.png").symlink_to("1.png")
    header, rows = content
    path = folder / f"list.{kind}"
    if kind == "csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
    else:
        path.write_text("".join(json.dumps(dict(zip(header, row, strict=False))) + "\n" for row in rows))
    cfg = DEFAULTS.clone()
    cfg.merge_from_list(["DATASET.NAME", "ImageList", "DATASET.ROOT", str(folder), "DATASET.LIST", path.name])
    try:
        with at_most(10):
            data = ImageList(cfg)
    except (ValueError, OSError) as error:
        assert len(sentence(error)) < 3000
        return
    given_rows = [dict(zip(header, row, strict=False)) for row in rows if any(value.strip() for value in row)]
    lists = {"train": data.train_x, "val": data.val or [], "test": data.test}
    said = [(part, os.path.realpath(item.impath), item.classname) for part in PARTS for item in lists[part]]
    assert len(said) == len(given_rows) == len({path for _, path, _ in said})
    assert set(header) <= {"path", "class", "split"} and {"path", "class"} <= set(header)
    if "split" in header:
        rows_said = [
            (row["split"].strip(), os.path.realpath(folder / row["path"].strip()), row["class"].strip())
            for row in given_rows
        ]
        assert sorted(said) == sorted(rows_said)
    assert len({name.lower().replace("_", " ") for _, _, name in said}) == len({name for _, _, name in said})
