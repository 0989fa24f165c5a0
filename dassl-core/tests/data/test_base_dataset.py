"""Items, splits, and the order in which few-shot items are drawn."""

import pickle
import random

import pytest
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum, base_dataset, build_dataset
from dassl.utils import set_random_seed


def _items(labels, prefix="a"):
    return [Datum(f"{prefix}{i}.png", label, classname=f"class {label}") for i, label in enumerate(labels)]


def test_datum_is_read_only_and_keeps_the_names_that_caches_carry():
    item = Datum(impath="a.png", label=2, domain=1, classname="cat")
    assert (item.impath, item.label, item.domain, item.classname) == ("a.png", 2, 1, "cat")
    assert vars(item) == {"_impath": "a.png", "_label": 2, "_domain": 1, "_classname": "cat"}
    with pytest.raises(AttributeError):
        item.label = 3
    assert (Datum().impath, Datum().label, Datum().domain, Datum().classname) == ("", 0, 0, "")
    with pytest.raises(TypeError, match="must be a string"):
        Datum(3)


def test_pickles_name_the_path_that_published_caches_name():
    assert base_dataset.Datum is Datum
    data = pickle.dumps(Datum("a.png", 1, 0, "bee"), protocol=2)
    assert b"cdassl.data.datasets.base_dataset\nDatum\n" in data
    assert vars(pickle.loads(data)) == vars(Datum("a.png", 1, 0, "bee"))


def test_classes_are_those_of_the_training_set():
    data = DatasetBase(train_x=_items([2, 0, 2, 1]), val=_items([0]), test=_items([1, 0]))
    assert data.num_classes == 3
    assert data.classnames == ["class 0", "class 1", "class 2"]
    assert data.lab2cname == {0: "class 0", 1: "class 1", 2: "class 2"}
    assert (len(data.train_x), data.train_u, len(data.val), len(data.test)) == (4, None, 1, 2)


def test_the_number_of_classes_is_the_largest_label_plus_one():
    assert DatasetBase(train_x=_items([0, 5]), test=_items([0])).num_classes == 6


def test_few_shot_items_are_those_of_every_published_run():
    labels = [3, 1, 1, 0, 3, 3, 1, 2, 3, 0, 1, 1, 3, 0]
    train, val = _items(labels, "train"), _items(labels[::-1], "val")
    set_random_seed(7)
    got_train = DatasetBase(train_x=train).generate_fewshot_dataset(train, num_shots=3)
    got_val = DatasetBase(train_x=train).generate_fewshot_dataset(val, num_shots=2)

    # The rule, told anew: one stream of numbers, labels by first appearance, sample or take all.
    rng = random.Random(7)
    expected = []
    for source, shots in ((train, 3), (val, 2)):
        for label in dict.fromkeys(d.label for d in source):
            of_label = [d for d in source if d.label == label]
            expected += rng.sample(of_label, shots) if len(of_label) >= shots else of_label
    assert [d.impath for d in got_train + got_val] == [d.impath for d in expected]


def test_nothing_before_the_dataset_draws_from_python_s_generator(cfg):
    set_random_seed(3)
    drawn = [d.impath for d in build_dataset(cfg).train_x]
    random.seed(3)
    assert [d.impath for d in DATASET_REGISTRY.get("EngineToy")(cfg).train_x] == drawn


def test_several_sources_give_several_lists():
    one, two = _items([0, 0, 1, 1], "x"), _items([0, 1, 1], "y")
    data = DatasetBase(train_x=one)
    first, second = data.generate_fewshot_dataset(one, two, num_shots=1)
    assert [d.label for d in first] == [d.label for d in second] == [0, 1]
    assert data.generate_fewshot_dataset(one, num_shots=0) is one
    assert data.generate_fewshot_dataset(one, two, num_shots=-1) == (one, two)


def test_small_classes_give_all_or_repeat():
    source = _items([0, 0, 1, 1, 1, 1])
    data = DatasetBase(train_x=source)
    assert len(data.generate_fewshot_dataset(source, num_shots=3)) == 5
    repeated = data.generate_fewshot_dataset(source, num_shots=3, repeat=True)
    assert [d.label for d in repeated] == [0, 0, 0, 1, 1, 1]


def test_grouping_by_domain():
    source = [Datum("a", 0, 1), Datum("b", 0, 0), Datum("c", 1, 1)]
    groups = DatasetBase(train_x=source).split_dataset_by_domain(source)
    assert {k: [d.impath for d in v] for k, v in groups.items()} == {1: ["a", "c"], 0: ["b"]}


def test_an_unknown_data_set_gets_the_nearest_name(cfg):
    cfg.DATASET.NAME = "EngineTo"
    with pytest.raises(KeyError, match='Unknown dataset "EngineTo"; did you mean "EngineToy"'):
        build_dataset(cfg)
