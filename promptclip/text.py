"""CLIP's text tower over ragged prompts with per-block context, nothing computed after a class's end token."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from clip.model import CLIP, ResidualAttentionBlock
from torch import Tensor

from promptclip.block import (
    attend,
    finish,
    finish_changed,
    project,
    project_first,
    project_normed,
    project_normed_at,
    project_queries_at,
    recomputed,
)
from promptclip.changes import BlockChange, after_first, block_by_block
from promptclip.class_prompts import Layout
from promptclip.relaid import places_after_first, unshared, with_tokens_after_first
from promptclip.shift import Encoded, FeatureShift, SquareDistance, root


class TextTower:
    """Runs the text blocks of `model` (frozen weights stay where they are).

    Attributes:
        checkpointing: compute each block again in the backward pass instead of keeping what it made.
    """

    checkpointing = False

    def __init__(self, model: CLIP) -> None:
        self.model = model
        self.blocks = model.transformer.resblocks

    def __call__(
        self,
        layout: Layout,
        prompts: Sequence[Tensor | None] = (),
        shift: bool = False,
        changes: Sequence[BlockChange | None] = (),
    ) -> Encoded:
        """Features of K class prompts, and their feature shift if asked for.

        Args:
            layout: the class prompts (`layout.lay_out`), on the weights' device.
            prompts: per block an (n, width) context or None. Entry 0 may be (K, n, width) where the layout is class
                specific, or (G, n, width): G contexts, each for all classes.
            shift: measure the shift of every block (Eq. 6); samples are the classes.
            changes: per block what is changed in it, or None.

        Returns:
            Features (K, D), or (G, K, D) of G contexts; and the shift if asked for.

        Raises:
            ValueError: more prompts than blocks, or a prompt of another shape than the layout has places for.
        """
        if any(changes):
            return self._changed(layout, prompts, shift, block_by_block(changes, len(self.blocks), "text"))
        prompts = [*prompts, *[None] * (len(self.blocks) - len(prompts))]
        self._check(layout, prompts)
        x = self._embed(layout, prompts[0])  # (G, N, W)
        norms: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            prompt = prompts[number]
            if number and prompt is not None:
                x = _replace_prompts(layout, prompt, x)
            if number == len(self.blocks) - 1 and not shift:
                x = _last_block(block, layout, x)  # (G, K, W)
                break
            run = recomputed(_block) if self.checkpointing and torch.is_grad_enabled() else _block
            x, norm = run(block, layout, x, shift, first=number == 0)
            if norm is not None:
                norms.append(norm)
        ends = x.index_select(1, layout.end) if shift else x
        features = self.model.ln_final(ends) @ self.model.text_projection
        features = features.index_select(1, layout.rank)  # (G, K, D)
        many = prompts[0] is not None and prompts[0].dim() == 3 and not layout.class_specific
        entries = layout.unprompted * x.shape[-1]
        measured = FeatureShift(torch.stack(norms), entries) if shift else None
        return Encoded(features if many else features[0], measured)

    def _changed(
        self, layout: Layout, prompts: Sequence[Tensor | None], shift: bool, changes: list[BlockChange]
    ) -> Encoded:
        """The same with changed blocks. Blocks before the first change that see nothing learned keep nothing."""
        if shift:
            raise ValueError("Feature shift is what prompts do (Eq. 6); it is not measured where blocks are changed.")
        prompts = [*prompts, *[None] * (len(self.blocks) - len(prompts))]
        self._check(layout, prompts)
        many = prompts[0] is not None and prompts[0].dim() == 3 and not layout.class_specific
        x, inserted = self._embed(layout, prompts[0]), 0
        for number, (block, change) in enumerate(zip(self.blocks, changes, strict=True)):
            prompt = prompts[number]
            if number and prompt is not None:
                x = _replace_prompts(layout, prompt, x)
            layout, x, inserted = _change_tokens(layout, x, change, inserted)
            if number == len(self.blocks) - 1:
                x = _changed_last_block(block, layout, x, change)
                break
            keeps = not (self.checkpointing and torch.is_grad_enabled())
            run = _changed_block if keeps else recomputed(_changed_block, change.random)
            x = run(block, layout, x, change)
        features = self.model.ln_final(x) @ self.model.text_projection
        features = features.index_select(1, layout.rank)  # (G, K, D)
        return Encoded(features if many else features[0])

    def _check(self, layout: Layout, prompts: list[Tensor | None]) -> None:
        if len(prompts) > len(self.blocks):
            raise ValueError(f"There are prompts for {len(prompts)} blocks, but the text tower has {len(self.blocks)}.")
        for number, prompt in enumerate(prompts):
            if prompt is not None and prompt.shape[-2] != layout.n_ctx:
                raise ValueError(
                    f"The text prompt of block {number} has {prompt.shape[-2]} tokens, but the class prompts have "
                    f"{layout.n_ctx} places for learned tokens."
                )
        if layout.n_ctx and prompts[0] is None:
            raise ValueError("The class prompts have places for learned tokens, so block 0 needs a context.")

    def _embed(self, layout: Layout, context: Tensor | None) -> Tensor:
        """Tokens and context with their positions, (G, N, W)."""
        model, dtype = self.model, self.model.dtype
        tokens = model.token_embedding.weight[layout.ids].to(dtype)
        tokens = torch.where((layout.context >= 0)[:, None], 0, tokens)
        x = (tokens + model.positional_embedding[layout.position].to(dtype))[None]
        if context is None:
            return x
        context = context.to(dtype)
        if layout.class_specific:
            places = layout.prompts  # none of them in the prefix
            own = context[layout.class_of[places - layout.prefix], layout.context[places]]
            return x.index_add(1, places, own[None])
        context = context if context.dim() == 3 else context[None]  # (G, n, W)
        x = x.expand(len(context), -1, -1)
        return x.index_add(1, layout.prompts, context.index_select(1, layout.context[layout.prompts]))


def _replace_prompts(layout: Layout, prompt: Tensor, x: Tensor) -> Tensor:
    """Put the prompt (n, W) at the prompt tokens' places of x (G, N, W), over what the block before made there."""
    prompt = prompt.to(x.dtype).expand(len(x), -1, -1)
    return x.index_copy(1, layout.prompts, prompt.index_select(1, layout.context[layout.prompts]))


def _block(
    block: ResidualAttentionBlock, layout: Layout, x: Tensor, shift: bool, first: bool
) -> tuple[Tensor, Tensor | None]:
    """One block, and the norm (K,) of its shift against the same input with prompt tokens out of sight.

    In the `first` block all other tokens are constants; so are their queries, keys and values, and all of the
    unprompted pass.
    """
    qkv = project_first(block, x, layout.prompts) if first else project(block, x)
    heads = _split_heads(layout, qkv)
    out = finish(block, x, _attend(layout, heads))
    if not shift:
        return out, None
    with torch.set_grad_enabled(torch.is_grad_enabled() and not first):
        unprompted = finish(block, x, _attend(layout, heads, unprompted=True))
    return out, _shift_norm(layout, SquareDistance.apply(out, unprompted))


def _last_block(block: ResidualAttentionBlock, layout: Layout, x: Tensor) -> Tensor:
    """The last block's output at the end tokens alone, (G, K, W) as the suffixes lie."""
    q, kv = project_queries_at(block, x, layout.end)
    return finish(block, x.index_select(1, layout.end), _attend_from_ends(layout, q, kv))


def _attend_from_ends(layout: Layout, q: Tensor, kv: Tensor) -> Tensor:
    """Attention of the end tokens (G, K, W): queries (G, K, H, d), keys and values of all (G, N, 2, H, d)."""
    prefix, suffixes = _cut(layout, kv)
    queries = q.split([group.classes for group in layout.groups], dim=1)
    attended = [
        attend(own.flatten(0, 1)[:, None], *_after_prefix(prefix, suffix)).view(*own.shape[:2], -1)
        for own, suffix in zip(queries, suffixes, strict=True)  # an end token sees all before it
    ]
    return torch.cat(attended, dim=1)


# ---- changed blocks ----------------------------------------------------------------------------------------------


def _change_tokens(layout: Layout, x: Tensor, change: BlockChange, inserted: int) -> tuple[Layout, Tensor, int]:
    """Tokens of a block's input x (G, N, W) as `change` has them, their layout, and how many were put in so far."""
    if change.random and layout.prefix:
        layout, source = unshared(layout, 0)
        x = x.index_select(1, source)
    if change.tokens is not None:
        if inserted not in (0, len(change.tokens)):
            raise ValueError(f"{inserted} tokens were put in, so that {len(change.tokens)} cannot replace them.")
        x = after_first(x, change.tokens, inserted)
        layout = layout if inserted else with_tokens_after_first(layout, len(change.tokens))
        inserted = len(change.tokens)
    if change.class_tokens is not None:
        if layout.prefix > 1:
            layout, source = unshared(layout, 1)
            x = x.index_select(1, source)
        places = places_after_first(layout, change.class_tokens.shape[1])
        tokens = change.class_tokens.flatten(0, 1).to(x.dtype)
        x = x.index_copy(1, places, tokens.expand(len(x), -1, -1))
    return layout, x, inserted


def _changed_block(block: ResidualAttentionBlock, layout: Layout, x: Tensor, change: BlockChange) -> Tensor:
    """One block."""
    normed = (change.ln_1 or block.ln_1)(x)
    heads = _split_heads(layout, project_normed(block, normed, change))
    return finish_changed(block, x, normed, _attend(layout, heads), change)


def _changed_last_block(block: ResidualAttentionBlock, layout: Layout, x: Tensor, change: BlockChange) -> Tensor:
    """The last block's output at the end tokens alone, (G, K, W) as the suffixes lie."""
    normed = (change.ln_1 or block.ln_1)(x)
    few = normed.index_select(1, layout.end)
    q, kv = project_normed_at(block, normed, few, change)
    attended = _attend_from_ends(layout, q, kv)
    return finish_changed(block, x.index_select(1, layout.end), few, attended, change)


# ---- attention ---------------------------------------------------------------------------------------------------


class _Heads(NamedTuple):
    """What attention takes, H heads of width d: the prefix's queries, keys and values, each (G, P, H, d), and for each
    group the suffixes' queries (G * K', S', H, d), and keys and values of all they may see (G * K', P + S', H, d)."""

    prefix: tuple[Tensor, Tensor, Tensor]
    suffixes: list[tuple[Tensor, Tensor, Tensor]]


def _split_heads(layout: Layout, qkv: Tensor) -> _Heads:
    """qkv (G, N, 3, H, d) for `_attend`, made once for the passes with and without prompts."""
    q, kv = qkv.split([1, 2], dim=2)  # rather than by index, whose gradient is a tensor of zeros to add to
    (queries, own_queries), (prefix, suffixes) = _cut(layout, q.squeeze(2)), _cut(layout, kv)
    own = [(query, *_after_prefix(prefix, suffix)) for query, suffix in zip(own_queries, suffixes, strict=True)]
    keys, values = prefix.unbind(2)
    return _Heads((queries, keys, values), own)


def _attend(layout: Layout, heads: _Heads, unprompted: bool = False) -> Tensor:
    """Attention of all tokens (G, N, W): of the prefix over itself, of each suffix over the prefix and itself;
    `unprompted` with prompt tokens out of sight."""
    masks = [group.unprompted_mask if unprompted else group.mask for group in layout.groups]
    suffixes = [attend(*own, _for_each(mask, own[0])) for own, mask in zip(heads.suffixes, masks, strict=True)]
    if not layout.prefix:
        return _join(layout, heads.prefix[0].flatten(2), suffixes)
    mask = layout.unprompted_prefix_mask if unprompted else layout.prefix_mask
    return _join(layout, attend(*heads.prefix, mask), suffixes)


def _cut(layout: Layout, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """x (G, N, ...) as it lies, cut into prefix (G, P, ...) and each group's suffixes (G * K', S', ...)."""
    prefix, *suffixes = x.split([layout.prefix, *(group.classes * group.length for group in layout.groups)], dim=1)
    shapes = [(group.classes, group.length) for group in layout.groups]
    return prefix, [x.unflatten(1, shape).flatten(0, 1) for x, shape in zip(suffixes, shapes, strict=True)]


def _join(layout: Layout, prefix: Tensor, suffixes: list[Tensor]) -> Tensor:
    """The inverse of `_cut`."""
    pairs = zip(suffixes, layout.groups, strict=True)
    return torch.cat([prefix, *(x.unflatten(0, (-1, group.classes)).flatten(1, 2) for x, group in pairs)], dim=1)


def _after_prefix(prefix: Tensor, suffixes: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values, each (G * K', P + S', H, d): of the prefix (G, P, 2, H, d) before each suffix's."""
    classes = len(suffixes) // len(prefix)
    before = prefix[:, None].expand(-1, classes, -1, -1, -1, -1).flatten(0, 1)
    keys, values = torch.cat([before, suffixes], dim=1).unbind(2)
    return keys, values


def _for_each(mask: Tensor, rows: Tensor) -> Tensor:
    """A mask that serves all, or one per class, (1 or K', 1, ., .), for each of G * K' rows."""
    return mask if len(mask) == 1 else mask.repeat(len(rows) // len(mask), 1, 1, 1)


def _shift_norm(layout: Layout, squares: Tensor) -> Tensor:
    """(K,) norm of the shift, of which `squares` (G, N), at the tokens not learned; each class counts the prefix."""
    squares = squares * (layout.context < 0)
    shared, suffix = squares.split([layout.prefix, len(layout.class_of)], dim=1)
    own = suffix.new_zeros(len(suffix), len(layout.end)).index_add(1, layout.class_of, suffix)
    return root(own + shared.sum(1, keepdim=True)).mean(0)
