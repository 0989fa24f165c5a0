"""CLIPs in the form of Hugging Face's transformers: the same features as its own models, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import open_clip_models
import pytest
import torch
from hub_server import hub
from safetensors.torch import load_file, save_file

from promptclip import PromptedCLIP, load_clip
from promptclip.backbone import find_source, load_backbone
from promptclip.class_prompts import ClassPrompts
from promptclip.plain import padded

transformers = pytest.importorskip("transformers")
ROOT = Path(__file__).parents[2]


def sizes(**more) -> tuple[dict, dict]:
    """Text and vision configuration of a small CLIP."""
    text = {"hidden_size": 96, "intermediate_size": 200, "num_attention_heads": 2, "num_hidden_layers": 2}
    text |= {"max_position_embeddings": 30, "vocab_size": 49408, "eos_token_id": 49407, "projection_dim": 48}
    vision = {"hidden_size": 88, "intermediate_size": 300, "num_attention_heads": 4, "num_hidden_layers": 3}
    vision |= {"image_size": 32, "patch_size": 8, "projection_dim": 48}
    return text | more, vision | more


def model_of(**more):
    text, vision = sizes(**more)
    torch.manual_seed(0)
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=48))
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module", params=["quick_gelu", "gelu"])
def folder(request, tmp_path_factory):
    """A folder as transformers writes it, and its model."""
    path = tmp_path_factory.mktemp(request.param)
    model = model_of(hidden_act=request.param, layer_norm_eps=1e-4)
    model.save_pretrained(path)
    return path, model


def test_features_are_transformers(folder):
    path, model = folder
    loaded = load_backbone(f"hf:{path}")
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    ids, _ = padded(ClassPrompts.from_texts(open_clip_models.TEXTS, 30), 30)
    pooled_images, pooled_texts = model.vision_model(images).pooler_output, model.text_model(ids).pooler_output
    wanted = model.visual_projection(pooled_images), model.text_projection(pooled_texts)
    clip = PromptedCLIP(loaded.model)
    with torch.no_grad():
        ours = clip.encode_image(images).features, clip.encode_texts(open_clip_models.TEXTS)
    for found, right in zip(ours, wanted, strict=True):
        assert (found - right).abs().max() <= 1e-5 * max(1.0, right.abs().max())
    assert loaded.model.logit_scale == model.logit_scale
    assert ("quickgelu" if "quick" in path.name else "gelu") in loaded.said


def test_earlier_files_and_other_images(folder, tmp_path):
    """A pickle of weights with the places that transformers once kept, and images prepared otherwise than CLIP's."""
    path, _ = folder
    state = load_file(path / "model.safetensors")
    places = {f"{one}_model.embeddings.position_ids": torch.arange(9)[None] for one in ("text", "vision")}
    torch.save(state | places, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text((path / "config.json").read_text())
    said = {"size": {"shortest_edge": 32}, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.2] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    loaded, before = load_backbone(f"hf:{tmp_path}"), load_clip(f"hf:{path}")
    assert all(torch.equal(value, before.state_dict()[key]) for key, value in loaded.model.state_dict().items())
    made = loaded.preprocessing
    assert (made.size, made.interpolation, made.resize, made.mean) == (32, "bilinear", "shortest", (0.5,) * 3)
    said |= {"size": {"height": 32, "width": 32}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    assert find_source(f"hf:{tmp_path}").preprocessing.resize == "squash"
    with pytest.raises(ValueError, match="ACTIVATION is .*, but hf:.* was trained with"):
        load_clip(f"hf:{tmp_path}", "gelu" if "quick" in path.name else "quickgelu")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "siglip"}, "it is a 'siglip', and only CLIP"),
        ({"text_config": {"hidden_act": "gelu_new"}}, "activation of its towers is gelu_new and quick_gelu"),
        ({"text_config": {"vocab_size": 250_002}}, "another tokenizer"),
        ({"text_config": [1]}, "damaged configuration"),
        ({"text_config": {"num_attention_heads": "8"}}, "a tower with '8' heads"),
        ({"vision_config": {"image_size": "large"}}, "images cannot have 'large' pixels"),
    ],
)
def test_what_cannot_be_prompted(change, sentence, tmp_path):
    text, vision = sizes()
    config = {"model_type": "clip", "text_config": text, "vision_config": vision}
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=sentence):
        find_source(f"hf:{tmp_path}")


@pytest.mark.parametrize("change", ["lacks keys", "odd", "no weights", "no config", "no JSON"])
def test_damaged_folders(change, folder, tmp_path):
    path, _ = folder
    state = load_file(path / "model.safetensors")
    if change == "lacks keys":
        state.pop("text_model.encoder.layers.1.self_attn.k_proj.bias")
    if change == "odd":
        state["vision_model.head.weight"] = torch.zeros(2)
    if change != "no weights":
        save_file(state, tmp_path / "model.safetensors")
    if change != "no config":
        config = (path / "config.json").read_text()
        (tmp_path / "config.json").write_text(config[: 20 if change == "no JSON" else None])
    sentence = {"lacks keys": "lacks some of queries, keys", "odd": "which no CLIP of transformers has"}
    sentence |= {"no weights": "holds no weights", "no config": "it has no config.json", "no JSON": "is damaged"}
    with pytest.raises(ValueError, match=sentence[change]):
        load_clip(f"hf:{tmp_path}")


SCRIPT = """
import sys
from promptclip.backbone import load_backbone
for name in sys.argv[1:]:
    try:
        print("loaded", load_backbone(name).said)
    except Exception as error:
        print(type(error).__name__, str(error).splitlines()[0])
"""


def test_names_of_the_hub(tmp_path):
    """Both forms, fetched, then from the cache alone; and what is not there."""
    path = tmp_path / "clip"
    model_of().save_pretrained(path)
    open_clip = pytest.importorskip("open_clip")
    config = open_clip_models.shrunk(open_clip.get_model_config("ViT-B-32"))
    model = open_clip_models.random_model(config)
    other = Path(open_clip_models.as_folder(model, config, tmp_path / "model"))
    home = tmp_path / "home"
    home.mkdir()
    names = ["hf:me/clip", "open_clip:hf-hub:me/open", "hf:me/nothing", "hf:me/empty", "hf:no name"]
    with hub() as server:
        server.repositories["me/clip"] = {file.name: file.read_bytes() for file in path.iterdir()}
        server.repositories["me/open"] = {file.name: file.read_bytes() for file in other.iterdir()}
        server.repositories["me/empty"] = {"README.md": b"x"}
        found = perform(server.address, home, *names)
        assert found[0].startswith("loaded Hugging Face's me/clip; ")
        assert found[1].startswith("loaded open_clip's model hf-hub:me/open; gelu")
        assert found[2].startswith("ValueError There is neither a folder me/nothing nor a model")
        assert found[3].startswith("ValueError hf:me/empty holds none of config.json")
        assert found[4].startswith("ValueError hf:no name is neither a folder nor of the form user/name")
        address = server.address
    names = ["hf:me/clip", "open_clip:hf-hub:me/open", "hf:me/never", "open_clip:hf-hub:me/never"]
    later = perform(address, home, *names, HF_HUB_OFFLINE="1")  # else each waits for its retries
    assert later[:2] == found[:2]
    assert later[2].startswith("ConnectionError hf:me/never is no folder, and the hub cannot be reached")
    assert later[3].startswith("ConnectionError open_clip:hf-hub:me/never could not be fetched")


def perform(address, home, *names, **environment):
    setting = {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
    setting |= {"PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | environment
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, *names]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | setting, cwd=home, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
