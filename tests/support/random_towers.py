"""Random CLIPs and prompts that the towers' tests share."""

import clip.model
import torch
from small_clip import in_double

from promptclip.geometry import Geometry, assemble

NAMES = ["cat", "boeing 737-200", "2000 AM General Hummer SUV", "forest", "Annual Crop Land", "tench", "a"]
LAYERS = 12


def build(layers=LAYERS, openais=True):
    """Not OpenAI's habits: GELU, heads that are not 64 wide, other perceptrons, no `ln_pre`, eps of their own."""
    torch.manual_seed(0)
    model = clip.model.CLIP(32, 24, layers, 128, 8, 77, 49408, 64, 1, layers)
    if not openais:
        state = {key: value for key, value in model.state_dict().items() if "ln_pre" not in key}
        for key in [key for key in state if ".mlp." in key]:  # of 2.5 widths
            one, width = state[key], state[key].shape[-1] // (4 if "c_proj.w" in key or "c_fc.b" in key else 1)
            hidden = width * 5 // 2
            shape = {"c_fc.weight": (hidden, width), "c_fc.bias": (hidden,), "c_proj.weight": (width, hidden)}
            state[key] = torch.randn(next((new for end, new in shape.items() if key.endswith(end)), one.shape))
        model = assemble(state, Geometry("gelu", 4, 4, 1e-4, 1e-3, ln_pre=False), "random")
    model = in_double(model).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_(std=0.1) if parameter.dim() > 1 else parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def prompts(generator, depth, n, width, *lead, dtype=torch.double):
    shapes = [(*lead, n, width)] + [(n, width)] * (depth - 1)
    return [torch.randn(shape, generator=generator).mul(0.3).to(dtype).requires_grad_() for shape in shapes]
