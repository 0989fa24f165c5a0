"""The plain, obvious prompted CLIP that all else must equal: 77 positions, two full passes, clip's own blocks."""

import torch
from clip.model import CLIP
from torch import Tensor

from promptclip.tokens import ClassPrompts


def padded(classes: ClassPrompts, context_length: int = 77) -> tuple[Tensor, Tensor]:
    """Token ids and learned places as (K, context_length) tensors, 0 and -1 after the end token."""
    ids = torch.zeros(len(classes), context_length, dtype=torch.long)
    slots = torch.full_like(ids, -1)
    for k, (row, slot) in enumerate(zip(classes.ids, classes.slots, strict=True)):
        ids[k, : len(row)] = torch.tensor(row)
        slots[k, : len(row)] = torch.tensor(slot)
    return ids, slots


def run_block(block, x):
    """clip's own block on one sequence batch (N, L, W)."""
    return block(x.permute(1, 0, 2)).permute(1, 0, 2)


def text(model: CLIP, classes: ClassPrompts, prompts: list) -> tuple[Tensor, Tensor]:
    """(features (K, D), shift norms (L, K)), class by class."""
    ids, slots = padded(classes, model.context_length)
    features, norms = [], []
    for k in range(len(classes)):
        end = len(classes.ids[k]) - 1
        x = model.token_embedding(ids[k : k + 1]).type(model.dtype)
        at = (slots[k] >= 0).nonzero().squeeze(1)
        x = put(x, at, slots[k], choose(prompts[0], classes, k) if prompts else None)
        x = x + model.positional_embedding.type(model.dtype)
        words = [i for i in range(end + 1) if slots[k][i] < 0]
        row = []
        for number, block in enumerate(model.transformer.resblocks):
            if 0 < number < len(prompts):
                x = put(x, at, slots[k], prompts[number])
            bare = run_block(block, x[:, words])
            x = run_block(block, x)
            row.append((x[:, words] - bare).square().sum().clamp_min(1e-300).sqrt())
        features.append(model.ln_final(x[:, end]) @ model.text_projection)
        norms.append(torch.stack(row))
    return torch.cat(features), torch.stack(norms, 1)


def choose(prompt, classes, k):
    return prompt[k] if prompt is not None and classes.class_specific else prompt


def put(x, at, slots, prompt):
    if prompt is None:
        return x
    x = x.clone()
    x[:, at] = prompt[slots[at]]
    return x


def vision(model: CLIP, images: Tensor, prompts: list) -> tuple[Tensor, Tensor]:
    """(features (B, D), shift norms (L, B))."""
    visual = model.visual
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1) + visual.positional_embedding
    words = x.shape[1]
    if prompts and prompts[0] is not None:
        x = torch.cat([x, prompts[0].expand(len(x), -1, -1)], dim=1)
    x = visual.ln_pre(x)
    norms = []
    for number, block in enumerate(visual.transformer.resblocks):
        if 0 < number < len(prompts) and prompts[number] is not None:
            x = torch.cat([x[:, :words], prompts[number].expand(len(x), -1, -1)], dim=1)
        bare = run_block(block, x[:, :words])
        x = run_block(block, x)
        norms.append((x[:, :words] - bare).square().sum((1, 2)).clamp_min(1e-300).sqrt())
    return visual.ln_post(x[:, 0]) @ visual.proj, torch.stack(norms)
