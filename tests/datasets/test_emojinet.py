"""The embedded benchmark: split by emoji, enough for sixteen shots, usable with no data root and no writing."""

from collections import Counter
from pathlib import Path

import pytest
from dassl.config import get_cfg_default
from dassl.data.datasets import build_dataset
from dassl.utils import set_random_seed
from PIL import Image

import datasets
from datasets.registered import extend_cfg

EMBEDDED = Path(datasets.__file__).parent / "embedded"


def build(name, subset="all", shots=-1, seed=1):
    cfg = get_cfg_default()
    extend_cfg(cfg)
    cfg.merge_from_list(["DATASET.NAME", name, "DATASET.NUM_SHOTS", shots, "SEED", seed])
    cfg.DATASET.SUBSAMPLE_CLASSES = subset
    set_random_seed(seed)
    return build_dataset(cfg)


def emoji(items):
    """What is drawn, whatever the style: file names without it."""
    return {item.impath.rsplit("/", 1)[-1].rsplit("_", 1)[0] for item in items}


@pytest.fixture(scope="module")
def whole():
    return build("EmojiNet")


def test_no_emoji_is_in_two_parts(whole):
    train, val, test = map(emoji, (whole.train_x, whole.val, whole.test))
    assert not (train & val or train & test or val & test)
    for part in (whole.train_x, whole.val, whole.test):
        assert len(part) == 2 * len(emoji(part))  # both styles of each


def test_monochrome_drawings_are_of_test_emoji(whole):
    mono = build("EmojiNetMono")
    assert emoji(mono.test) == emoji(whole.test)
    assert [i.impath for i in mono.train_x] == [i.impath for i in mono.test] and not mono.val
    assert mono.classnames == whole.classnames


def test_every_class_has_sixteen_shots_and_a_validation(whole):
    assert whole.num_classes == 40
    assert min(Counter(i.label for i in whole.train_x).values()) >= 16
    assert min(Counter(i.label for i in whole.val).values()) >= 4
    assert min(Counter(i.label for i in whole.test).values()) >= 6


def test_base_and_new_share_the_classes(whole):
    base, new = build("EmojiNet", "base"), build("EmojiNet", "new")
    assert base.classnames + new.classnames == whole.classnames and base.num_classes == new.num_classes == 20
    assert len(base.test) + len(new.test) == len(whole.test)
    assert min(len(base.test), len(new.test)) > 400


def test_sampling_is_of_the_seed_and_writes_nothing_into_the_package():
    before = sorted(EMBEDDED.glob("*/*"))
    first, again, other = (build("EmojiNet", "base", 16, seed) for seed in (1, 1, 2))
    assert (len(first.train_x), len(first.val)) == (320, 80)
    paths = [[i.impath for i in one.train_x] for one in (first, again, other)]
    assert paths[0] == paths[1] != paths[2]
    assert sorted(EMBEDDED.glob("*/*")) == before


@pytest.mark.parametrize("name", ["EmojiNet", "EmojiNetMono"])
def test_all_images_are_there_and_of_one_kind(name):
    items = build(name)
    listed = {i.impath for part in (items.train_x, items.val or [], items.test) for i in part}
    folder = Path(items.test[0].impath).parents[1]
    assert listed == {str(p) for p in folder.glob("*/*")}
    for path in listed:
        with Image.open(path) as image:
            assert (image.size, image.mode) == ((64, 64), "RGB")


def test_the_licence_lies_beside_the_data():
    assert "Microsoft" in (EMBEDDED / "LICENSE-fluent-emoji").read_text()
    assert "Permission is hereby granted" in (EMBEDDED / "LICENSE-fluent-emoji").read_text()
    assert "Miles Johnson" in (EMBEDDED / "LICENSE-emojibase-data").read_text()
    assert sum(p.stat().st_size for p in EMBEDDED.rglob("*.png")) < 6e6
