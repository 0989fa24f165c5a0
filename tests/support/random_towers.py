"""Random CLIPs and prompts that the towers' tests share."""

import clip.model
import torch
from small_clip import in_double

NAMES = ["cat", "boeing 737-200", "2000 AM General Hummer SUV", "forest", "Annual Crop Land", "tench", "a"]
LAYERS = 12


def build(layers=LAYERS):
    torch.manual_seed(0)
    model = in_double(clip.model.CLIP(32, 24, layers, 128, 8, 77, 49408, 64, 1, layers)).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_(std=0.1) if parameter.dim() > 1 else parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def prompts(generator, depth, n, width, *lead, dtype=torch.double):
    shapes = [(*lead, n, width)] + [(n, width)] * (depth - 1)
    return [torch.randn(shape, generator=generator).mul(0.3).to(dtype).requires_grad_() for shape in shapes]
