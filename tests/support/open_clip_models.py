"""open_clip's and Hugging Face's own CLIPs with random weights, small, and as folders of theirs."""

import json
from copy import deepcopy

import torch
from safetensors.torch import save_file

TEXTS = ["a photo of a cat", "boeing 737-200", "2000 AM General Hummer SUV, on a road.", "x"]


def shrunk(config: dict, blocks: int = 2) -> dict:
    """An architecture with its patches, head widths, perceptrons and activation, but few heads, patches and blocks."""
    config = deepcopy(config)
    vision, text = config["vision_cfg"], config["text_cfg"]
    heads = text["width"] // text["heads"]
    text |= {"width": 2 * heads, "heads": 2, "layers": blocks, "context_length": 40}
    if isinstance(vision["layers"], list):
        vision |= {"layers": [1, 1, 1, 1], "width": 8, "image_size": 64}
    else:
        width, patch = vision.get("head_width", 64), vision["patch_size"]
        vision |= {"width": 2 * width, "layers": blocks, "image_size": 3 * patch}
    return config | {"embed_dim": 48}


def random_model(config: dict, kind=None):
    """open_clip's model of a configuration, every weight of it random."""
    import open_clip

    torch.manual_seed(0)
    model = (kind or open_clip.CLIP)(**{key: deepcopy(one) for key, one in config.items() if key != "custom_text"})
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.02)
    for name, value in model.named_buffers():
        if "running" in name:
            value.add_(torch.rand_like(value))
    return model.eval().requires_grad_(False)


def as_folder(model, config: dict, folder, **preprocess) -> str:
    """A model as a folder that a hub has."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    described = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    return str(folder)
