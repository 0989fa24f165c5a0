"""The same images as everyone: samples from two published split files, for all shots and seeds on record."""

import gzip
import hashlib
import json
import os
import re
from pathlib import Path

import pytest

SPLITS = Path(__file__).parent / "splits"
EXPECTED = json.loads((SPLITS / "fewshot_expected.json").read_text())
SETS = {"eurosat": ("EuroSAT", "2750"), "oxford_pets": ("OxfordPets", "images")}
CASES = [(folder, key) for folder, record in EXPECTED.items() for key in record if key.startswith("shots")]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Both data sets with the published split file and, for images, only the first of each list."""
    root = tmp_path_factory.mktemp("root")
    for folder, (name, images) in SETS.items():
        data = gzip.decompress((SPLITS / f"split_zhou_{name}.json.gz").read_bytes())
        for rows in json.loads(data).values():
            path = root / folder / images / rows[0][0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (root / folder / f"split_zhou_{name}.json").write_bytes(data)
    return root


def test_the_cases_are_on_record():
    assert len(CASES) == 12


@pytest.mark.parametrize(("folder", "key"), CASES)
def test_sample(folder, key, load, root):
    shots, seed = map(int, re.findall(r"\d+", key))
    dataset = load(SETS[folder][0], root, shots=shots, seed=seed)
    assert (root / folder / "split_fewshot" / f"shot_{shots}-seed_{seed}.pkl").is_file()
    check(dataset, EXPECTED[folder][key])
    if folder == "oxford_pets":  # now from the sample's file
        check(load(SETS[folder][0], root, shots=shots, seed=seed), EXPECTED[folder][key])


def check(dataset, expected):
    """Counts, first images and fingerprint of a sample."""
    pairs = [[os.path.relpath(item.impath, dataset.images), item.label] for item in [*dataset.train_x, *dataset.val]]
    assert [len(dataset.train_x), len(dataset.val)] == [expected["n_train"], expected["n_val"]]
    assert [path for path, _ in pairs[:3]] == expected["first3"]
    assert hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16] == expected["sha16"]


@pytest.mark.parametrize("folder", SETS)
def test_whole_split(folder, load, root):
    dataset = load(SETS[folder][0], root, shots=-1)
    sizes = EXPECTED[folder]["split"]
    assert (len(dataset.train_x), len(dataset.val), len(dataset.test)) == tuple(sizes.values())
    assert dataset.num_classes == EXPECTED[folder]["classes"] == type(dataset).facts.classes
    facts = type(dataset).facts
    assert (facts.train, facts.val, facts.test) == tuple(sizes.values())
