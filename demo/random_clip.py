"""A small CLIP of open_clip's with GELU and random weights, as a folder of a hub's: python demo/random_clip.py FOLDER

With it the embedded benchmark shows without a download that another backbone runs; its accuracies are those of chance.
"""

import argparse
import json
from pathlib import Path

CONFIG = {  # heads of 32 and perceptrons of three widths, as no CLIP of OpenAI's has
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 96, "head_width": 32, "layers": 6, "mlp_ratio": 3.0},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 6},
}
IMAGES = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bilinear", "resize_mode": "squash"}


def main(argv: list[str] | None = None) -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="made if it is not there")
    folder = parser.parse_args(argv).folder
    import open_clip  # only now: they take seconds
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = open_clip.CLIP(**json.loads(json.dumps(CONFIG)))  # which keeps and changes what it is given
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    described = {"model_cfg": CONFIG, "preprocess_cfg": IMAGES}
    (folder / "open_clip_config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    print(f"Written: {folder}; use it as --backbone open_clip:{folder}")


if __name__ == "__main__":
    main()
