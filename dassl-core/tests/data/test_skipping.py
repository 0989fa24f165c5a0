"""TEST.SKIP_BROKEN: an evaluation counts and names unreadable images; training never skips one."""

import shutil

import pytest
from dassl.engine import build_trainer


@pytest.fixture
def broken(cfg, image_root, tmp_path):
    """The configuration on a copy of the images in which five of the nine test images are broken."""
    root = tmp_path / "images"
    shutil.copytree(image_root, root)
    for name in ("0_10", "0_11", "0_12", "1_10", "1_11"):
        (root / f"{name}.png").write_bytes(b"no picture")
    cfg.DATASET.ROOT = str(root)
    cfg.TEST.SKIP_BROKEN = True
    return cfg


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_images_are_counted_even_if_a_whole_batch_is(broken, capsys, workers):
    broken.DATALOADER.NUM_WORKERS = workers
    trainer = build_trainer(broken)
    trainer.test()
    printed = capsys.readouterr().out
    assert "* skipped: 5 broken images" in printed and "* total: 4" in printed
    assert len(trainer.broken_images) == 5 and all("cannot be read" in line for line in trainer.broken_images)
    trainer.test("val")
    assert trainer.broken_images == []
    assert "skipped" not in capsys.readouterr().out


def test_nothing_is_skipped_unasked(broken):
    broken.TEST.SKIP_BROKEN = False
    with pytest.raises(ValueError, match="0_10.png"):
        build_trainer(broken).test()


def test_nothing_but_broken_images_is_no_result(broken):
    trainer = build_trainer(broken)
    for item in trainer.dm.dataset.test:
        with open(item.impath, "wb"):
            pass
    with pytest.raises(ValueError, match="nothing to evaluate"):
        trainer.test()
    assert len(trainer.broken_images) == 9


def test_training_never_skips(broken):
    for item in build_trainer(broken).dm.dataset.train_x:
        with open(item.impath, "wb"):
            pass
    with pytest.raises(ValueError, match="cannot be read"):
        build_trainer(broken).train()
