"""To a model hub and back, against a stand-in on this machine; each step in a process of its own, since huggingface_hub
reads the hub's address when it is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hub_server import hub
from small_classifier import make

from promptclip.folder import CARD, CONFIG, WEIGHTS

huggingface_hub = pytest.importorskip("huggingface_hub")
ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
import promptclip
for step in sys.argv[1:]:
    place, _, target = step.partition(">")
    try:
        model = promptclip.load(place)
        print("loaded", model.classes[0])
        if target:
            print(model.push(target))
    except Exception as error:
        print(type(error).__name__, str(error).splitlines()[0])
"""


@pytest.fixture(scope="module")
def saved(weights, tmp_path_factory):
    return make(weights("tiny4")).save(tmp_path_factory.mktemp("saved") / "classifier")


def perform(address, home, *steps, **environment):
    """What the steps printed, line by line: "place" loads, "place>user/name" loads and pushes."""
    setting = {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_TOKEN": "hf_test", "HF_HUB_DISABLE_TELEMETRY": "1"}
    setting |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | environment
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, *steps]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | setting, cwd=home, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_pushed_fetched_and_there_without_a_network(saved, tmp_path):
    with hub() as server:
        server.repositories["me/large"] = {CONFIG: b"x" * 30_000_000, WEIGHTS: b""}
        server.repositories["me/other"] = {"model.bin": b"x"}
        printed = perform(server.address, tmp_path, f"{saved}>me/mine", "me/mine", "me/nothing", "me/large", "me/other")
        assert printed[:3] == ["loaded tabby_cat", f"{server.address}/me/mine", "loaded tabby_cat"]
        assert "FileNotFoundError There is neither a folder me/nothing nor a trained classifier" in printed[3]
        assert "ValueError me/large holds a config.json of 30,000,000 bytes" in printed[4]
        assert printed[5].startswith("FileNotFoundError")
        assert server.repositories["me/mine"] == {path.name: path.read_bytes() for path in saved.iterdir()}
        fetched = [line for line in server.asked if "/me/large/resolve/" in line and line.startswith("GET")]
        assert not fetched, "what is too large is not fetched"
        address = server.address
    offline = perform(address, tmp_path, "me/mine", "me/unseen", HF_HUB_OFFLINE="1")
    assert offline[0] == "loaded tabby_cat" and offline[1].startswith(
        "ConnectionError There is no folder me/unseen, and the hub"
    )
    unreachable = perform(address, tmp_path, "me/mine", f"{saved}>me/mine")
    assert unreachable[0] == "loaded tabby_cat" and unreachable[2].startswith("ConnectionError me/mine could not")


def test_the_card_is_what_hubs_read(saved):
    card = huggingface_hub.ModelCard.load(saved / CARD)
    (result,) = card.data.eval_results
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("Drawn", "accuracy", 81.25)
    assert card.data.library_name == "promptclip" and card.data.pipeline_tag == "image-classification"
    assert "81.25" in card.text and "tabby cat" in card.text and "—" not in card.text


def test_a_card_takes_any_name(weights):
    from promptclip.card import card

    names = ("a | b", "<script>alert(1)</script>", "---\nx: 1", "été")
    text = card(make(weights("tiny4"), classes=names, training={"dataset": "x: [", "accuracy": 1.0}).description)
    header, body = text.split("---\n")[1], text.split("---\n", 2)[2]
    assert yaml.safe_load(header)["model-index"][0]["results"][0]["dataset"]["name"] == "x: ["
    assert "<script>" not in body and "a \\| b" in body
