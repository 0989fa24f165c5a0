"""CLIP's vision tower with per-layer prompts behind the patch tokens."""

import torch
from clip.model import CLIP
from torch import Tensor

from promptclip.block import attend, finish, project, project_learned, project_some
from promptclip.memory import running
from promptclip.prompts import is_vit
from promptclip.shared_attention import attend_with_and_without
from promptclip.shift import FeatureShift, SquareDistance, root


class VisionTower:
    """Runs the vision blocks of `model`; a ResNet runs as `clip` runs it and takes no prompts.

    Attributes:
        checkpointing: compute each block again in the backward pass instead of keeping what it made.
    """

    checkpointing = False

    def __init__(self, model: CLIP) -> None:
        self.visual = model.visual
        self.vit = is_vit(model)

    def __call__(
        self, images: Tensor, prompts: list[Tensor | None] = (), shift: bool = False
    ) -> tuple[Tensor, FeatureShift | None]:
        """Features (B, D) of images (B, 3, H, W), and their feature shift if asked for.

        Args:
            images: normalised images of the backbone's resolution.
            prompts: per block an (n, width) prompt or None. Entry 0 joins after the positional embedding, before
                `ln_pre`; a later one replaces the prompt tokens' output of the block before.
            shift: measure the shift of every block (Eq. 6); samples are the images.

        Raises:
            ValueError: prompts or shift with a ResNet, or more prompts than blocks.
        """
        images = images.to(self.visual.conv1.weight.dtype)
        if not self.vit:
            if prompts or shift:
                raise ValueError("Vision prompts and feature shift need a ViT backbone; this one is a ResNet.")
            return self.visual(images), None
        blocks = self.visual.transformer.resblocks
        if len(prompts) > len(blocks):
            raise ValueError(f"There are prompts for {len(prompts)} blocks, but the vision tower has {len(blocks)}.")
        prompts = [*prompts, *[None] * (len(blocks) - len(prompts))]
        x, words = self._embed(images, prompts[0])  # (B, N + n, W)
        norms = []
        for number, block in enumerate(blocks):
            if number and prompts[number] is not None:
                x = torch.cat([x[:, :words], _expand(prompts[number], x)], dim=1)
            last = number == len(blocks) - 1
            if last and not shift:
                x = self._last_block(block, x)
                break
            run = running(self._block, self.checkpointing)
            x, norm = run(block, x, words, shift, entry=number == 0 and not images.requires_grad)
            norms.append(norm)
        features = self.visual.ln_post(x[:, 0]) @ self.visual.proj
        if not shift:
            return features, None
        entries = torch.full((len(images),), words * x.shape[-1], device=x.device)
        return features, FeatureShift(torch.stack(norms), entries)

    def _embed(self, images: Tensor, prompt: Tensor | None) -> tuple[Tensor, int]:
        """Class token, patches and shallow prompts, and the number of tokens that are not prompts."""
        visual = self.visual
        patches = visual.conv1(images).flatten(2).transpose(1, 2)  # (B, N - 1, W)
        start = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        x = torch.cat([start, patches], dim=1) + visual.positional_embedding.to(patches.dtype)
        words = x.shape[1]
        if prompt is not None:
            x = torch.cat([x, _expand(prompt, x)], dim=1)
        return visual.ln_pre(x), words

    @staticmethod
    def _block(block: torch.nn.Module, x: Tensor, words: int, shift: bool, entry: bool) -> tuple[Tensor, Tensor | None]:
        """One block, and the norm (B,) of its shift against the same input without the prompt tokens.

        At the `entry` words are constants; so are their queries, keys and values, and all of the pass without prompts.
        """
        learned = torch.arange(words, x.shape[1], device=x.device)
        qkv = project_learned(block, x, learned) if entry else project(block, x)
        if not shift or words == x.shape[1]:
            out = finish(block, x, attend(*qkv.unbind(2)))
            return out, out.new_zeros(len(out)) if shift else None
        attended, bare = attend_with_and_without(qkv, words)
        out = finish(block, x, attended)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not entry):
            bare = finish(block, x[:, :words], bare)
        return out, root(SquareDistance.apply(out, bare).sum(1))

    @staticmethod
    def _last_block(block: torch.nn.Module, x: Tensor) -> Tensor:
        """The last block's output at the class token alone, (B, 1, W)."""
        q, kv = project_some(block, x, torch.zeros(1, dtype=torch.long, device=x.device))
        return finish(block, x[:, :1], attend(q, *kv.unbind(2)))


def _expand(prompt: Tensor, x: Tensor) -> Tensor:
    """(n, width) prompt for each image of x (B, N, W)."""
    return prompt.to(x.dtype).expand(len(x), -1, -1)
