"""What every method of the registry leaves is used without what made it: in a process that has promptclip and no more.

One fresh process loads all folders, since starting torch takes longer than all of them.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from behaviour import ENTRIES, build, data
from trainer_factory import NAMES, logits

from promptclip import folder
from runs.classifier import write_classifier

ROOT = Path(__file__).parents[2]
NEW = ["forest", "sugar cane field", "tench"]
NO_ROOMS = ("dassl", "trainers", "datasets", "runs", "yacs")
FRESH = f"""
import importlib.abc, json, sys
import numpy as np

class Refuses(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NO_ROOMS!r}:
            raise ImportError(name + " is not there")

sys.path.insert(0, sys.argv[1])
sys.meta_path.insert(0, Refuses())
import torch
import promptclip

torch.set_num_threads(1)
images = torch.from_numpy(np.load(sys.argv[2]))
found = {{}}
for place in json.load(sys.stdin):
    model = promptclip.load(place)
    with_new = None
    try:
        with_new = model.with_classes({NEW!r}).logits(images).softmax(1).tolist()
    except ValueError as error:
        with_new = str(error)
    found[place] = [model.logits(images).softmax(1).tolist(), with_new, model.classes]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def trained(weights, tmp_path_factory):
    """By label: what the trainer says of the test images, with its own classes and with new ones; what the folder says;
    and what a fresh process says."""
    place = tmp_path_factory.mktemp("trained")
    images = data()[1]
    np.save(place / "images.npy", images.numpy())
    expected, folders = {}, {}
    for number, entry in enumerate(ENTRIES):
        run = place / str(number)
        trainer = build(entry, weights, run, epochs=1)
        if trainer.method.learns:
            trainer.train()
        record = {"dataset": "tensors", "shots": 1, "seed": 0, "epoch": 1}
        folders[entry[0]] = write_classifier(trainer, trainer.cfg, run, record)
        assert folders[entry[0]] is not None, f"{entry[0]} left no folder"
        new = None
        if not folder.describe(folders[entry[0]]).new_classes:
            other = build(entry, weights, place / f"{number}-new", names=NEW, epochs=1)
            if trainer.method.learns:
                other.load_model(str(run), epoch=1)
            new = logits(other, images).softmax(1)
        expected[entry[0]] = logits(trainer, images).softmax(1), new
    only = place / "only"
    only.mkdir()
    (only / "promptclip").symlink_to(ROOT / "promptclip")
    places = [str(one.parent) for one in folders.values()]
    command = [sys.executable, "-I", "-W", "ignore", "-c", FRESH, str(only), str(place / "images.npy")]
    done = subprocess.run(command, input=json.dumps(places), capture_output=True, text=True, cwd=place)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "loading and predicting print nothing"
    found = json.loads(done.stdout)
    return {label: (*expected[label], folders[label], *found[str(folders[label].parent)]) for label in expected}


@pytest.mark.parametrize("label", [entry[0] for entry in ENTRIES])
def test_a_fresh_process_says_what_the_trainer_said(trained, label):
    own, new, place, found, found_new, classes = trained[label]
    assert classes == NAMES
    torch.testing.assert_close(torch.tensor(found), own, rtol=0, atol=1e-6)
    assert own.std() > 1e-3, "a model that says nothing shows nothing"
    if new is None:
        assert "cannot take other class names" in found_new
        return
    torch.testing.assert_close(torch.tensor(found_new), new, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("label", "method"), [entry[:2] for entry in ENTRIES])
def test_a_folder_is_small_and_says_what_it_is(trained, label, method):
    place = trained[label][2]
    assert {path.name for path in place.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert sum(path.stat().st_size for path in place.iterdir()) < 1_000_000  # CLIP alone has 13 MB
    said = folder.describe(place)
    assert said.method == method and said.classes == tuple(NAMES)
    assert said.training["dataset"] == "tensors" and len(said.sha256) == 64
