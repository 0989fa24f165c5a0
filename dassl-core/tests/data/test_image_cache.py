"""Images kept in memory, and evaluation on all cores: no pixel changes, and the bound holds."""

import shutil

import pytest
import torch
from dassl.data import DataManager
from dassl.data.data_manager import build_data_loader, check_shared_memory, worker_count
from dassl.data.transforms import build_transform
from dassl.utils import read_image, set_random_seed
from dassl.utils.images import ImageCache

PIXELS = 12 * 12 * 3
MIB = 2**20


def epochs(cfg, items, megabytes, workers):
    """Two epochs of training batches."""
    cfg.DATALOADER.CACHE_MB, cfg.DATALOADER.NUM_WORKERS = megabytes, workers
    set_random_seed(3)
    loader = build_data_loader(cfg, "RandomSampler", items, batch_size=4, tfm=build_transform(cfg))
    return loader, [batch for _ in range(2) for batch in loader]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("megabytes", [1, 20.5 * PIXELS / MIB])
def test_no_pixel_changes(cfg, items, workers, megabytes):
    _, plain = epochs(cfg, items, 0, workers)
    _, cached = epochs(cfg, items, megabytes, workers)
    assert len(plain) == len(cached) == 18
    for one, other in zip(plain, cached, strict=True):
        assert torch.equal(one["img"], other["img"]) and one["impath"] == other["impath"]


def test_images_come_from_memory_once_filled(cfg, items, tmp_path, capsys):
    moved = []
    for number, item in enumerate(items):
        path = tmp_path / f"{number}.png"
        shutil.copy(item.impath, path)
        item._impath = str(path)
        moved.append(path)
    cfg.DATALOADER.CACHE_MB = 1
    loader = build_data_loader(cfg, "RandomSampler", items, batch_size=4, tfm=build_transform(cfg))
    assert "kept decoded" not in capsys.readouterr().out  # nothing is decoded before it is needed
    first = len(list(loader))
    for path in moved:
        path.unlink()
    assert len(list(loader)) == first
    assert capsys.readouterr().out.count("39 of 39 training images kept decoded in memory") == 1


def test_the_bound_holds(items):
    paths = [item.impath for item in items]
    for fitting in (0, 1, 38, 39):
        cache = ImageCache((fitting * PIXELS + 1) / MIB)
        cache.fill(paths)
        assert len(cache.images) == fitting
    with pytest.raises(ValueError, match="CACHE_MB is -1; allowed is 0"):
        ImageCache(-1)


def test_what_is_read_may_be_changed(items):
    cache = ImageCache(1)
    cache.fill([items[0].impath])
    cache.read(items[0].impath).paste(0, (0, 0, 12, 12))
    assert list(cache.read(items[0].impath).tobytes()) == list(read_image(items[0].impath).tobytes())


def test_a_broken_image_is_named_when_its_turn_comes(cfg, items, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    items[1]._impath = str(tmp_path / "broken.png")
    with pytest.raises(ValueError, match="broken.png"):
        epochs(cfg, items, 1, 0)


@pytest.mark.parametrize(
    ("asked", "training", "batches", "expected"),
    [(-1, 8, 100, 8), (-1, 8, 3, 3), (-1, 0, 100, 0), (5, 0, 100, 5), (256, 0, 2, 2)],
)
def test_workers_of_an_evaluation(cfg, monkeypatch, asked, training, batches, expected):
    monkeypatch.setattr("dassl.data.data_manager.cores", lambda: 16)
    cfg.DATALOADER.TEST.NUM_WORKERS, cfg.DATALOADER.NUM_WORKERS = asked, training
    assert worker_count(cfg, False, batches) == expected
    assert worker_count(cfg, True, batches) == training


@pytest.mark.parametrize("number", [-2, 257, 100_000, 10**30])
@pytest.mark.parametrize("key", ["DATALOADER.NUM_WORKERS", "DATALOADER.TEST.NUM_WORKERS"])
def test_no_machine_is_made_to_fork_without_end(cfg, monkeypatch, key, number):
    monkeypatch.setattr("os.fork", None)
    cfg.merge_from_list([key, number])
    with pytest.raises(ValueError, match=rf"{key} is {number}; allowed is .* up to 256"):
        DataManager(cfg)


@pytest.mark.parametrize(
    ("cores", "jobs", "expected"), [(64, None, 8), (64, "2", 8), (16, "4", 4), (4, "16", 1), (4, "no", 4)]
)
def test_workers_of_an_evaluation_beside_others(cfg, monkeypatch, cores, jobs, expected):
    monkeypatch.setattr("dassl.data.data_manager.cores", lambda: cores)
    monkeypatch.delenv("DASSL_JOBS", raising=False)
    if jobs:
        monkeypatch.setenv("DASSL_JOBS", jobs)
    cfg.DATALOADER.NUM_WORKERS, cfg.DATALOADER.TEST.NUM_WORKERS = 4, -1
    assert worker_count(cfg, False, 100) == expected


def test_too_little_shared_memory_is_said(tmp_path, monkeypatch):
    free = shutil._ntuple_diskusage(2**26, 0, 2**26)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: free)
    image = 4 * 3 * 224 * 224
    assert "may need 919 MiB of shared memory" in check_shared_memory(8, 100, image, tmp_path)
    assert check_shared_memory(8, 4, image, tmp_path) == check_shared_memory(0, 100, image, tmp_path) == ""
    assert check_shared_memory(8, 100, image, tmp_path / "none") == ""


def test_evaluation_in_workers_changes_no_pixel_and_no_order(cfg):
    alone = list(DataManager(cfg).test_loader)
    cfg.DATALOADER.TEST.NUM_WORKERS = 2
    loader = DataManager(cfg).test_loader
    assert loader.num_workers == 2
    for one, other in zip(alone, loader, strict=True):
        assert torch.equal(one["img"], other["img"]) and torch.equal(one["index"], other["index"])
