"""CLIP's vision tower with per-block prompts behind the patch tokens."""

from collections.abc import Sequence

import torch
from clip.model import CLIP, ResidualAttentionBlock
from torch import Tensor

from promptclip.block import (
    attend,
    attend_with_and_without,
    finish,
    finish_changed,
    layer_norm,
    project,
    project_first,
    project_normed,
    project_normed_at,
    project_queries_at,
    recomputed,
)
from promptclip.changes import BlockChange, after_first, block_by_block
from promptclip.prompts import is_vit
from promptclip.shift import Encoded, FeatureShift, SquareDistance, root


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
        self,
        images: Tensor,
        prompts: Sequence[Tensor | None] = (),
        shift: bool = False,
        changes: Sequence[BlockChange | None] = (),
        constant: bool = False,
    ) -> Encoded:
        """Features of images, and their feature shift if asked for.

        Args:
            images: (B, 3, H, W) normalised images of the backbone's resolution.
            prompts: per block an (n, width) prompt or None. Entry 0 joins after the positional embedding, before
                `ln_pre`; a later one replaces the prompt tokens' output of the block before.
            shift: measure the shift of every block (Eq. 6); samples are the images.
            changes: per block what is changed in it, or None.
            constant: the pass without prompts is a constant of the shift: no gradient flows back through it.

        Returns:
            Features (B, D); the shift if asked for; what became of the tokens that `changes` put in.

        Raises:
            ValueError: prompts or shift with a ResNet, or more prompts than blocks.
        """
        images = images.to(self.visual.conv1.weight.dtype)
        if not self.vit:
            if prompts or shift or any(changes):
                raise ValueError("Vision prompts and feature shift need a ViT backbone; this one is a ResNet.")
            return Encoded(self.visual(images))
        blocks = self.visual.transformer.resblocks
        if len(prompts) > len(blocks):
            raise ValueError(f"There are prompts for {len(prompts)} blocks, but the vision tower has {len(blocks)}.")
        prompts = [*prompts, *[None] * (len(blocks) - len(prompts))]
        if any(changes):
            return self._changed(images, prompts, shift, block_by_block(changes, len(blocks), "vision"))
        x, tokens = self._embed(images, prompts[0])  # (B, N + n, W)
        squares: list[Tensor] = []
        for number, block in enumerate(blocks):
            prompt = prompts[number]
            if number and prompt is not None:
                x = torch.cat([x[:, :tokens], _for_each_image(prompt, x)], dim=1)
            if number == len(blocks) - 1 and not shift:
                x = _last_block(block, x)
                break
            run = recomputed(_block) if self.checkpointing and torch.is_grad_enabled() else _block
            first = number == 0 and not images.requires_grad
            x, square = run(block, x, tokens, shift, first, constant)
            if square is not None:
                squares.append(square)
        features = self.visual.ln_post(x[:, 0]) @ self.visual.proj
        if not shift:
            return Encoded(features)
        entries = torch.full((len(images),), tokens * x.shape[-1], device=x.device)
        norms = root(torch.stack(squares)) if squares else features.new_zeros(0, len(images))
        early = norms.new_zeros(len(blocks) - len(norms), len(images))  # blocks before the first prompt shift nothing
        return Encoded(features, FeatureShift(torch.cat([early, norms]), entries))

    def _changed(
        self, images: Tensor, prompts: Sequence[Tensor | None], shift: bool, changes: list[BlockChange]
    ) -> Encoded:
        """The same with changed blocks. Blocks before the first change that see nothing learned keep nothing."""
        if shift:
            raise ValueError("Feature shift is what prompts do (Eq. 6); it is not measured where blocks are changed.")
        blocks = self.visual.transformer.resblocks
        x, tokens = self._embed(images, prompts[0])
        inserted = 0
        for number, (block, change) in enumerate(zip(blocks, changes, strict=True)):
            prompt = prompts[number]
            if number and prompt is not None:
                x = torch.cat([x[:, :tokens], _for_each_image(prompt, x)], dim=1)
            if change.class_tokens is not None:
                raise ValueError("Images belong to no class, so the vision tower takes no class_tokens.")
            if change.tokens is not None:
                if inserted not in (0, len(change.tokens)):
                    raise ValueError(
                        f"{inserted} tokens were put in, so that {len(change.tokens)} cannot replace them."
                    )
                x, tokens = after_first(x, change.tokens, inserted), tokens - inserted + len(change.tokens)
                inserted = len(change.tokens)
            if number == len(blocks) - 1:
                x = _changed_last_block(block, x, 1 + inserted, change)
                break
            keeps = not (self.checkpointing and torch.is_grad_enabled())
            run = _changed_block if keeps else recomputed(_changed_block, change.random)
            x = run(block, x, change)
        x = self.visual.ln_post(x)  # (B, 1 + n, W)
        return Encoded(x[:, 0] @ self.visual.proj, tokens=x[:, 1:] if inserted else None)

    def _embed(self, images: Tensor, prompt: Tensor | None) -> tuple[Tensor, int]:
        """Class token, patches and shallow prompts, and the number of tokens that are not prompts."""
        visual = self.visual
        patches = visual.conv1(images).flatten(2).transpose(1, 2)  # (B, N - 1, W)
        start = visual.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        x = torch.cat([start, patches], dim=1) + visual.positional_embedding.to(patches.dtype)
        tokens = x.shape[1]
        if prompt is not None:
            x = torch.cat([x, _for_each_image(prompt, x)], dim=1)
        return visual.ln_pre(x), tokens


def _block(
    block: ResidualAttentionBlock, x: Tensor, tokens: int, shift: bool, first: bool, constant: bool
) -> tuple[Tensor, Tensor | None]:
    """One block, and the square (B,) of its shift's norm against the same input without the prompt tokens; None where
    that is not asked for, or there are none.

    In the `first` block all other tokens are constants; so are their queries, keys and values, and all of the
    unprompted pass. That may be taken for `constant` in the others, too.
    """
    prompts = slice(tokens, x.shape[1])
    qkv = project_first(block, x, prompts) if first and tokens < x.shape[1] else project(block, x)
    if not shift or tokens == x.shape[1]:
        return finish(block, x, attend(*qkv.unbind(2))), None
    attended, unprompted = attend_with_and_without(qkv, tokens)
    out = finish(block, x, attended)
    with torch.set_grad_enabled(torch.is_grad_enabled() and not first and not constant):
        unprompted = finish(block, x[:, :tokens], unprompted)
    return out, SquareDistance.apply(out, unprompted).sum(1)


def _last_block(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """The last block's output at the class token alone, (B, 1, W)."""
    q, kv = project_queries_at(block, x, torch.zeros(1, dtype=torch.long, device=x.device))
    return finish(block, x[:, :1], attend(q, *kv.unbind(2)))


def _changed_block(block: ResidualAttentionBlock, x: Tensor, change: BlockChange) -> Tensor:
    """One block of which something is changed, or that comes before or after one."""
    normed = change.ln_1(x) if change.ln_1 else layer_norm(block.ln_1, x)
    qkv = project_normed(block, normed, change)
    return finish_changed(block, x, normed, attend(*qkv.unbind(2)), change)


def _changed_last_block(block: ResidualAttentionBlock, x: Tensor, first: int, change: BlockChange) -> Tensor:
    """The last block's output at the `first` tokens alone."""
    normed = change.ln_1(x) if change.ln_1 else layer_norm(block.ln_1, x)
    few = normed[:, :first]
    q, kv = project_normed_at(block, normed, few, change)
    return finish_changed(block, x[:, :first], few, attend(q, *kv.unbind(2)), change)


def _for_each_image(prompt: Tensor, x: Tensor) -> Tensor:
    """(n, width) prompt for each image of x (B, N, W)."""
    return prompt.to(x.dtype).expand(x.shape[0], -1, -1)
