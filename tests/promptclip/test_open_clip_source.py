"""CLIPs of open_clip: the same features as its own models, what is refused, and where weights are looked for."""

import hashlib
import http.server
import json
import threading
from functools import partial

import pytest
import torch
from open_clip_models import TEXTS, as_folder, random_model, shrunk

from promptclip import PromptedCLIP, load_clip
from promptclip.backbone import Backbone, find_source, load_backbone, weights_digest, weights_sha256
from promptclip.geometry import Geometry, empty
from promptclip.open_clip_source import describe, listed, parameters, refused, why_not

open_clip = pytest.importorskip("open_clip")
FAMILIES = [  # of the issue: LAION's and DataComp's; DFN's and MetaCLIP's; others
    *("ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-H-14", "ViT-g-14", "ViT-bigG-14"),
    *("ViT-B-16-quickgelu", "ViT-L-14-336-quickgelu", "ViT-H-14-quickgelu", "ViT-bigG-14-quickgelu"),
    *("ViT-B-16-plus-240", "ViT-M-16-alt", "ViT-S-32-alt", "ViT-e-14", "RN50", "RN101-quickgelu"),
]
OWN_ATTENTION = {"block_type": "custom"}  # open_clip's own Attention in place of torch's


def config_of(name: str, **more) -> dict:
    config = shrunk(open_clip.get_model_config(name))
    for tower in ("vision_cfg", "text_cfg"):
        config[tower] |= more.get(tower, {})
    return config


def compare(model, loaded: Backbone, texts=TEXTS) -> None:
    """Both towers, as `clip` and as this library runs them, against open_clip's own."""
    size = loaded.preprocessing.size
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    ids = open_clip.SimpleTokenizer(context_length=loaded.model.context_length)(texts)
    wanted = model.encode_image(images), model.encode_text(ids)
    clip = PromptedCLIP(loaded.model)
    with torch.no_grad():
        ours = clip.encode_image(images).features, clip.encode_texts(texts)
        plain = loaded.model.encode_image(images), loaded.model.encode_text(ids)
    for pair in (ours, plain):
        for found, right in zip(pair, wanted, strict=True):
            assert (found - right).abs().max() <= 1e-5 * max(1.0, right.abs().max())
    assert loaded.model.logit_scale == model.logit_scale


@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_open_clips(name, tmp_path):
    config = config_of(name)
    model = random_model(config)
    compare(model, load_backbone(f"open_clip:{as_folder(model, config, tmp_path / 'model')}"))


@pytest.mark.parametrize(
    "more",
    [
        {"vision_cfg": OWN_ATTENTION, "text_cfg": OWN_ATTENTION},
        {"vision_cfg": {"no_ln_pre": True, "final_ln_after_pool": True}},
        {"vision_cfg": {"ls_init_value": 0.5} | OWN_ATTENTION, "text_cfg": {"ls_init_value": 0.3}},
        {"vision_cfg": {"norm_kwargs": {"eps": 1e-3}}, "text_cfg": {"norm_kwargs": {"eps": 1e-2}}},
        {"vision_cfg": {"pos_embed_type": "sin_cos_2d", "mlp_ratio": 3}, "text_cfg": {"mlp_ratio": 2}},
    ],
    ids=["own Attention", "no ln_pre", "LayerScale", "eps", "positions"],
)
def test_variants(more, tmp_path):
    config = config_of("ViT-H-14", **more)
    model = random_model(config)
    compare(model, load_backbone(f"open_clip:{as_folder(model, config, tmp_path / 'model')}"))


def test_text_tower_of_its_own(tmp_path):
    """Weights under `text.`, as CustomTextCLIP has them."""
    config = config_of("ViT-B-32") | {"custom_text": True}
    model = random_model(config, open_clip.CustomTextCLIP)
    compare(model, load_backbone(f"open_clip:{as_folder(model, config, tmp_path / 'model')}"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-16-plus-240", "ViT-L-14-336", "ViT-H-14", "ViT-g-14"])
def test_in_full_size(name, tmp_path):
    config = open_clip.get_model_config(name)
    model = random_model(config)
    compare(model, load_backbone(f"open_clip:{as_folder(model, config, tmp_path / 'model')}"))


def test_every_supported_architecture_fits_key_by_key():
    """In its real size, without memory: names and shapes are open_clip's, and so is the number of parameters."""
    names = [name for name in open_clip.list_models() if not why_not(name, open_clip.get_model_config(name))]
    assert set(FAMILIES) <= set(names) and len(names) > 40
    for name in names:
        config = open_clip.get_model_config(name)
        geometry: Geometry = describe(config, {}, lambda: None, name).geometry
        with torch.device("meta"):
            state = open_clip.CLIP(**json.loads(json.dumps(config))).state_dict()
            scales = {key for key in state if key.endswith("gamma")}  # LayerScale is multiplied in
            ours = empty(state, geometry).state_dict()
        assert {key: value.shape for key, value in state.items() if key not in scales} == {
            key: value.shape for key, value in ours.items()
        }, name
        if not isinstance(config["vision_cfg"]["layers"], list) and not scales:
            assert parameters(config) == sum(value.numel() for value in state.values()), name


def test_list_of_what_there_is():
    names = {name: (count, licence) for name, count, licence in listed()}
    assert names["open_clip:ViT-B-16/laion2b_s34b_b88k"] == (149_620_737, "MIT")
    assert names["open_clip:ViT-H-14/laion2b_s32b_b79k"][0] == 986_109_441
    assert not any("SigLIP" in name for name in names)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ViT-B-16-SigLIP", "SigLIP"),
        ("ViT-SO400M-14-SigLIP2", "SigLIP"),
        ("PE-Core-B-16", "Perception Encoder"),
        ("EVA02-B-16", "EVA"),
        ("MobileCLIP-S1", "MobileCLIP"),
        ("coca_ViT-B-32", "CoCa"),
        ("convnext_base", "convolutions"),
        ("roberta-ViT-B-32", "another model"),
        ("ViT-H-14-CLIPA", "no causal mask"),
        ("ViT-H-14-worldwide", "another tokenizer"),
    ],
)
def test_what_cannot_be_prompted_is_refused_in_a_sentence(name, reason):
    assert reason in dict(refused())[name]
    with pytest.raises(ValueError, match=rf"open_clip:{name}/tag cannot be prompted: .*{reason}"):
        find_source(f"open_clip:{name}/tag")


@pytest.mark.parametrize(
    ("tower", "option"),
    [
        ("vision_cfg", {"pool_type": "avg"}),
        ("vision_cfg", {"attentional_pool": True}),
        ("vision_cfg", {"qk_norm": True}),
        ("vision_cfg", {"act_kwargs": {"approximate": "tanh"}}),
        ("vision_cfg", {"something_new": 3}),
        ("text_cfg", {"proj_bias": True}),
        ("text_cfg", {"pool_type": "last"}),
        ("text_cfg", {"scale_fc": True}),
        ("text_cfg", {"tokenizer_kwargs": {"clean": "canonicalize"}}),
    ],
)
def test_an_option_that_the_towers_do_not_run(tower, option, tmp_path):
    config = config_of("ViT-B-32", **{tower: option})
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=rf"its option {tower}\.{next(iter(option))} is"):
        find_source(f"open_clip:{tmp_path}")


def test_options_that_are_off_are_no_options(tmp_path):
    off = {"qk_norm": False, "attentional_pool": False, "act_kwargs": None, "something_new": None}
    assert not why_not("", config_of("ViT-B-32", vision_cfg=off, text_cfg={"proj_bias": False}))


def test_preprocessing_activation_and_digest(tmp_path):
    gelu, quick = config_of("ViT-B-32"), config_of("ViT-B-32") | {"quick_gelu": True}
    model = random_model(gelu)
    said = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "resize_mode": "squash"}
    folders = [as_folder(model, config, tmp_path / name, **said) for name, config in (("a", gelu), ("b", quick))]
    first, second = (load_backbone(f"open_clip:{folder}") for folder in folders)
    made = first.preprocessing
    assert (made.size, made.interpolation, made.resize) == (96, "bilinear", "squash")
    assert (made.mean, made.std) == ((0.5,) * 3, (0.25,) * 3)
    assert "gelu" in first.said and "squash" in first.said and "context length 40" in first.said
    for digest in (weights_digest, weights_sha256):  # the same weights, and another CLIP
        assert digest(first.model) != digest(second.model)
    assert weights_digest(load_clip(f"open_clip:{folders[0]}", "gelu")) == weights_digest(first.model)
    with pytest.raises(ValueError, match="ACTIVATION is quickgelu, but .* was trained with gelu"):
        load_clip(f"open_clip:{folders[0]}", "quickgelu")
    said["resize_mode"] = "longest"
    with pytest.raises(ValueError, match="resizes its images in a way that is not known here"):
        find_source(f"open_clip:{as_folder(model, gelu, tmp_path / 'c', **said)}")


@pytest.fixture
def architecture(tmp_path, monkeypatch):
    """A small architecture that open_clip knows by name, and its model."""
    config = config_of("ViT-B-32")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny-gelu.json").write_text(json.dumps(config))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", [*open_clip.factory._MODEL_CONFIG_PATHS])
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", dict(open_clip.factory._MODEL_CONFIGS))
    open_clip.add_model_config(tmp_path / "configs")
    return random_model(config)


@pytest.mark.parametrize("form", ["pt", "safetensors", "training"])
def test_a_file_of_ones_own(form, architecture, tmp_path):
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pt")
    state = architecture.state_dict()
    if form == "safetensors":
        from safetensors.torch import save_file

        save_file({name: value.contiguous() for name, value in state.items()}, path)
    elif form == "pt":
        torch.save(state, path)
    else:  # open_clip's checkpoint of a training on several GPUs
        torch.save({"epoch": 3, "name": "x", "state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    loaded = load_backbone(f"open_clip:tiny-gelu/{path}")
    compare(architecture, loaded)
    assert str(path) in loaded.said
    with pytest.raises(ValueError, match=r"weights.* is of another architecture than its name says: "):
        load_clip(f"open_clip:ViT-B-16/{path}")


def test_a_tag_is_fetched_and_its_activation_is_the_tags(architecture, tmp_path, monkeypatch):
    torch.save(architecture.state_dict(), tmp_path / "weights.pt")
    served = tmp_path / "served"
    served.mkdir()
    digest = hashlib.sha256((tmp_path / "weights.pt").read_bytes()).hexdigest()
    (tmp_path / "weights.pt").rename(served / f"tiny-{digest[:8]}.pt")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    handler.log_message = lambda *args: None
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/tiny-{digest[:8]}.pt"
        tags = {"mine": {"url": url}, "openais": {"url": url, "quick_gelu": True}, "gone": {"url": url + "x"}}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-gelu", tags)
        compare(architecture, load_backbone("open_clip:tiny-gelu/mine"))
        assert "quickgelu" in load_backbone("open_clip:tiny-gelu/openais").said
        with pytest.raises(ConnectionError, match=r"open_clip:tiny-gelu/gone could not be fetched .*404"):
            load_clip("open_clip:tiny-gelu/gone")
        server.shutdown()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ViT-B16/openai", r"no architecture of open_clip 'ViT-B16'.*did you mean 'ViT-B-16'"),
        ("ViT-B-16/laion2b_s34b", r"no weights of open_clip's ViT-B-16, nor file,.*did you mean 'laion2b_s34b_b88k'"),
        ("ViT-B-16", r"names no weights: give a tag or a file, as in open_clip:ViT-B-16/openai"),
    ],
)
def test_names_that_lead_nowhere(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        find_source(f"open_clip:{name}")


def test_folders_that_are_none(tmp_path):
    with pytest.raises(ValueError, match="is no folder of open_clip's: it has no open_clip_config.json"):
        find_source(f"open_clip:{tmp_path}")
    config = tmp_path / "open_clip_config.json"
    for content, sentence in (("{", "damaged"), ("[]", "no model_cfg"), ('{"model_cfg": {}}', "cannot be prompted")):
        config.write_text(content)
        (tmp_path / "weights.pt").write_bytes(b"x")
        with pytest.raises(ValueError, match=sentence):
            find_source(f"open_clip:{tmp_path}")
    model_cfg = config_of("ViT-B-32")
    config.write_text(json.dumps({"model_cfg": model_cfg}))
    with pytest.raises(ValueError, match="cannot be read as CLIP's weights"):
        load_clip(f"open_clip:{tmp_path}")
    (tmp_path / "weights.pt").unlink()
    with pytest.raises(ValueError, match="holds no weights beside"):
        find_source(f"open_clip:{tmp_path}")


@pytest.mark.parametrize(
    "model_cfg",
    [
        {"vision_cfg": {"head_width": 0}},
        {"vision_cfg": {"width": "wide"}},
        {"vision_cfg": {"norm_kwargs": {"eps": "small"}}},
        {"text_cfg": {"heads": 0}},
        {"text_cfg": {"heads": [8]}},
        {"vision_cfg": {"image_size": "large"}},
    ],
)
def test_values_of_a_configuration_that_cannot_be(model_cfg, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"x")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config_of("ViT-B-32", **model_cfg)}))
    with pytest.raises(ValueError):
        find_source(f"open_clip:{tmp_path}")


@pytest.mark.parametrize("images", [{"std": [0, 1, 1]}, {"mean": [0.5]}, {"std": ["a", 1, 1]}, {"mean": 3}])
def test_images_that_cannot_be_prepared(images, tmp_path):
    config = config_of("ViT-B-32")
    (tmp_path / "weights.pt").write_bytes(b"x")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": images}))
    with pytest.raises(ValueError):
        find_source(f"open_clip:{tmp_path}")


@pytest.mark.parametrize("change", ["lacks", "more", "bias"])
def test_weights_that_are_not_the_architectures(change, tmp_path):
    config = config_of("ViT-B-32")
    model = random_model(config)
    state = model.state_dict()
    if change == "lacks":
        state.pop("visual.ln_pre.weight")
    else:
        state["logit_bias" if change == "bias" else "visual.extra"] = torch.zeros(())
    model.state_dict = lambda: state
    sentence = "has a logit bias" if change == "bias" else "do not fit together"
    with pytest.raises(ValueError, match=sentence):
        load_clip(f"open_clip:{as_folder(model, config, tmp_path / 'model')}")
