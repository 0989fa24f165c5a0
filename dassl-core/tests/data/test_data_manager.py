"""From a configuration to batches."""

import pickle
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from dassl.data import DataManager, DatasetWrapper
from dassl.data.data_manager import build_data_loader
from dassl.data.transforms import build_transform
from dassl.utils import set_random_seed
from torchvision import transforms as T


def test_batches_are_dicts(cfg):
    dm = DataManager(cfg)
    batch = next(iter(dm.train_loader_x))
    assert set(batch) == {"img", "label", "domain", "impath", "index"}
    assert batch["img"].shape == (4, 3, 8, 8)
    assert batch["label"].dtype == torch.int64
    for i, index in enumerate(batch["index"].tolist()):
        item = dm.dataset.train_x[index]
        assert (batch["impath"][i], batch["label"][i], batch["domain"][i]) == (item.impath, item.label, item.domain)


def test_attributes_and_summary(cfg, capsys):
    cfg.DATASET.ALL_AS_UNLABELED = True
    cfg.DATASET.SOURCE_DOMAINS = ["a", "b"]
    dm = DataManager(cfg)
    assert (dm.num_classes, dm.num_source_domains) == (3, 2)
    assert dm.lab2cname == {0: "ant", 1: "bee", 2: "cat"}
    assert [len(loader) for loader in (dm.train_loader_x, dm.train_loader_u, dm.val_loader, dm.test_loader)] == [
        3,
        1,
        2,
        2,
    ]
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    for row in (["Dataset", "EngineToy"], ["#", "classes", "3"], ["#", "train_x", "12"], ["#", "val", "6"]):
        assert row in rows
    assert ["#", "test", "9"] in rows


def test_settings_of_unlabelled_data_are_read_only_where_there_are_any(cfg):
    del cfg.DATALOADER["TRAIN_U"]  # as in the configuration of SkipTuning
    assert DataManager(cfg).train_loader_u is None


def test_quiet_when_not_verbose(cfg, capsys):
    cfg.VERBOSE = False
    DataManager(cfg)
    assert capsys.readouterr().out == "Creating a 4-shot dataset\n"


def test_the_test_loader_keeps_order_and_the_last_small_batch(cfg):
    dm = DataManager(cfg)
    indices = torch.cat([batch["index"] for batch in dm.test_loader])
    assert indices.tolist() == list(range(9))


@pytest.mark.parametrize(("batch_size", "batches"), [(5, 2), (12, 1), (13, 1), (32, 1)])
def test_the_last_train_batch_is_dropped_unless_it_is_the_only_one(cfg, batch_size, batches):
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE = batch_size
    sizes = [len(batch["label"]) for batch in DataManager(cfg).train_loader_x]
    assert sizes == [min(batch_size, 12)] * batches


def test_img0_is_the_plain_image(cfg, items):
    cfg.DATALOADER.RETURN_IMG0 = True
    cfg.INPUT.TRANSFORMS = ("random_flip",)
    wrapper = DatasetWrapper(cfg, items, build_transform(cfg), is_train=True)
    outputs = [wrapper[0] for _ in range(12)]
    assert all(torch.equal(o["img0"], outputs[0]["img0"]) for o in outputs)
    flipped = [not torch.equal(o["img"], o["img0"]) for o in outputs]
    assert any(flipped)
    assert not all(flipped)


def test_k_transforms_give_a_list_in_training_only(cfg):
    cfg.DATALOADER.K_TRANSFORMS = 3
    dm = DataManager(cfg)
    images = next(iter(dm.train_loader_x))["img"]
    assert [image.shape for image in images] == [(4, 3, 8, 8)] * 3
    assert not torch.equal(images[0], images[1])
    assert next(iter(dm.test_loader))["img"].shape == (5, 3, 8, 8)


def test_a_list_of_transforms_gives_img_img2_img3(cfg, items, capsys):
    small, large = (T.Compose([T.Resize(s), T.ToTensor()]) for s in (4, 6))
    dm = DataManager(cfg, custom_tfm_train=[small, large, small], custom_tfm_test=small)
    batch = next(iter(dm.train_loader_x))
    assert [batch[k].shape[-1] for k in ("img", "img2", "img3")] == [4, 6, 4]
    assert next(iter(dm.test_loader))["img"].shape[-1] == 4
    assert "* Using custom transform for training" in capsys.readouterr().out


def test_without_a_transform_the_image_is_a_pil_image(cfg, items):
    assert DatasetWrapper(cfg, items)[3]["img"].size == (12, 12)
    cfg.DATALOADER.K_TRANSFORMS = 2
    with pytest.raises(ValueError, match="K_TRANSFORMS"):
        DatasetWrapper(cfg, items, is_train=True)


def test_a_wrapper_of_one_s_own(cfg):
    class Mine(DatasetWrapper):
        def __getitem__(self, idx):
            return {"label": self.data_source[idx].label}

    assert set(next(iter(DataManager(cfg, dataset_wrapper=Mine).train_loader_x))) == {"label"}


@pytest.mark.parametrize(("split", "kept"), [("training", range(8, 13)), ("evaluation", range(10))])
def test_an_empty_split_gets_a_sentence(cfg, image_root, tmp_path, split, kept):
    for number in kept:
        shutil.copy(image_root / f"0_{number}.png", tmp_path)
    cfg.DATASET.ROOT = str(tmp_path)
    with pytest.raises(ValueError, match=f"The {split} set of EngineToy is empty.*{tmp_path}"):
        DataManager(cfg)


def test_a_sampler_that_makes_no_batch_gets_a_sentence(cfg, items):
    cfg.DATALOADER.TRAIN_X.SAMPLER, cfg.DATALOADER.TRAIN_X.BATCH_SIZE = "RandomDomainSampler", 400
    with pytest.raises(ValueError, match="makes no batch of 400"):
        DataManager(cfg)
    with pytest.raises(ValueError, match="BATCH_SIZE must be at least 1"):
        build_data_loader(cfg, data_source=items, batch_size=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_training_image_is_named(cfg, items, tmp_path, workers):
    (tmp_path / "broken.png").write_bytes(b"no image")
    items[1]._impath = str(tmp_path / "broken.png")
    cfg.DATALOADER.NUM_WORKERS = workers
    loader = build_data_loader(cfg, data_source=items, batch_size=2, tfm=build_transform(cfg))
    with pytest.raises(ValueError, match="broken.png"):
        next(iter(loader))


HELD = """
import sys
from dassl.config import get_cfg_default
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import Datum
cfg = get_cfg_default()
cfg.DATALOADER.NUM_WORKERS = 1
item = Datum.__new__(Datum)
item._impath, item._label, item._domain, item._classname = sys.argv[1], 0, 0, ""
try:
    next(iter(build_data_loader(cfg, data_source=[item], batch_size=1, tfm=lambda image: image)))
except ValueError as error:
    held = error  # its traceback holds the iterator, and that its worker
"""


def test_a_program_ends_although_an_error_holds_a_loader_s_worker(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    command = [sys.executable, "-c", HELD, str(tmp_path / "broken.png")]
    assert subprocess.run(command, timeout=60, capture_output=True).returncode == 0


class NumbersWrapper(DatasetWrapper):
    """Returns what each of the three generators draws."""

    def __getitem__(self, idx):
        return torch.tensor([torch.rand(()).item(), random.random(), np.random.rand()], dtype=torch.float64)


def test_workers_draw_what_torch_s_seed_says(cfg, items):
    cfg.DATALOADER.NUM_WORKERS = 2

    def draws(seed):
        set_random_seed(seed)
        loader = build_data_loader(cfg, data_source=items[:8], batch_size=2, dataset_wrapper=NumbersWrapper)
        return torch.cat(list(loader))

    first = draws(1)
    assert torch.equal(draws(1), first)
    # Torch's seed decides for all three, in every worker; another seed is another sequence for each of them.
    assert (draws(2) != first).all()
    assert all(len(set(column)) == 8 for column in first.t().tolist())


def test_evaluating_leaves_the_training_s_random_numbers_alone(cfg):
    dm = DataManager(cfg)
    before = torch.get_rng_state()
    list(dm.test_loader)
    list(dm.val_loader)
    assert torch.equal(torch.get_rng_state(), before)


def test_all_that_workers_need_can_be_pickled(cfg):
    """Python 3.14 starts workers from a server process, which hands everything over as pickles."""
    dm = DataManager(cfg)
    dataset = pickle.loads(pickle.dumps(dm.test_loader.dataset))
    assert torch.equal(dataset[0]["img"], dm.test_loader.dataset[0]["img"])
    assert len(pickle.loads(pickle.dumps(dm.train_loader_x.dataset))) == 12
