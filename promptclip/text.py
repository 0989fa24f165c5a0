"""CLIP's text tower over ragged prompts with per-block context, nothing computed after a class's end token."""

from collections.abc import Sequence

import torch
from clip.model import CLIP, ResidualAttentionBlock
from torch import Tensor

from promptclip.block import (
    finish,
    finish_changed,
    layer_norm,
    project,
    project_first,
    project_normed,
    project_normed_at,
    project_queries_at,
    recomputed,
    replace_from,
)
from promptclip.changes import BlockChange, after_first, block_by_block
from promptclip.class_prompts import Layout
from promptclip.grouped import Heads, attend_from_ends, attend_grouped, split_heads
from promptclip.relaid import places_after_first, unshared, with_tokens_after_first
from promptclip.rows import at_ends, attend_in_rows, sum_over_rows
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
        constant: bool = False,
    ) -> Encoded:
        """Features of K class prompts, and their feature shift if asked for.

        Args:
            layout: the class prompts (`layout.lay_out`), on the weights' device.
            prompts: per block an (n, width) context or None. Entry 0 may be (K, n, width) where the layout is class
                specific, or (G, n, width): G contexts, each for all classes.
            shift: measure the shift of every block (Eq. 6); samples are the classes.
            changes: per block what is changed in it, or None.
            constant: the pass without prompts is a constant of the shift: no gradient flows back through it.

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
        squares: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            prompt = prompts[number]
            if number and prompt is not None:
                x = _replace_prompts(layout, prompt, x)
            if number == len(self.blocks) - 1 and not shift:
                x = _last_block(block, layout, x)  # (G, K, W)
                break
            run = recomputed(_block) if self.checkpointing and torch.is_grad_enabled() else _block
            x, square = run(block, layout, x, shift, number == 0, constant)
            if square is not None:
                squares.append(square)
        features = self._features(layout, _at_ends(layout, x) if shift else x)
        many = prompts[0] is not None and prompts[0].dim() == 3 and not layout.class_specific
        entries = layout.unprompted * x.shape[-1]
        measured = FeatureShift(root(torch.stack(squares)).mean(1), entries) if shift else None
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
        features = self._features(layout, x)
        return Encoded(features if many else features[0])

    def _features(self, layout: Layout, ends: Tensor) -> Tensor:
        """Features (G, K, D), class by class, of what the last block made of the end tokens, `_at_ends`."""
        features = self.model.ln_final(ends) @ self.model.text_projection
        return features if layout.rows is not None else features.index_select(1, layout.rank)

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
        if layout.start >= 0:
            here = x[:, layout.start : layout.start + layout.n_ctx]
            return replace_from(layout.start, x, here + context)
        return x.index_add(1, layout.prompts, context.index_select(1, layout.context[layout.prompts]))


def _replace_prompts(layout: Layout, prompt: Tensor, x: Tensor) -> Tensor:
    """Put the prompt (n, W) at the prompt tokens' places of x (G, N, W), over what the block before made there."""
    prompt = prompt.to(x.dtype).expand(len(x), -1, -1)
    if layout.start >= 0:
        return replace_from(layout.start, x, prompt)
    return x.index_copy(1, layout.prompts, prompt.index_select(1, layout.context[layout.prompts]))


def _block(
    block: ResidualAttentionBlock, layout: Layout, x: Tensor, shift: bool, first: bool, constant: bool
) -> tuple[Tensor, Tensor | None]:
    """One block, and the square (G, K) of its shift's norm against the same input with prompt tokens out of sight.

    In the `first` block all other tokens are constants; so are their queries, keys and values (which accelerators
    compute all alike: the kernels saved would be fewer than those it takes), and all of the unprompted pass.
    That may be taken for `constant` in the others, too.
    """
    places = layout.prompts if layout.start < 0 else slice(layout.start, layout.start + layout.n_ctx)
    qkv = project_first(block, x, places) if first and layout.rows is None else project(block, x)
    heads = _heads(layout, qkv)
    out = finish(block, x, _attend(layout, heads))
    if not shift:
        return out, None
    with torch.set_grad_enabled(torch.is_grad_enabled() and not first and not constant):
        unprompted = finish(block, x, _attend(layout, heads, unprompted=True))
    return out, _square_norm(layout, SquareDistance.apply(out, unprompted))


def _at_ends(layout: Layout, x: Tensor) -> Tensor:
    """x (G, N, W) at the end tokens, (G, K, W): in the order of the classes in rows, else as the suffixes lie."""
    return at_ends(x, layout.rows) if layout.rows is not None else x.index_select(1, layout.end)


def _last_block(block: ResidualAttentionBlock, layout: Layout, x: Tensor) -> Tensor:
    """The last block's output at the end tokens alone, as `_at_ends`."""
    if layout.rows is not None:
        attended = attend_in_rows(project(block, x), layout.rows, ends=True)
    else:
        attended = attend_from_ends(layout, *project_queries_at(block, x, layout.end))
    return finish(block, _at_ends(layout, x), attended)


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
    normed = change.ln_1(x) if change.ln_1 else layer_norm(block.ln_1, x)
    heads = _heads(layout, project_normed(block, normed, change))
    return finish_changed(block, x, normed, _attend(layout, heads), change)


def _changed_last_block(block: ResidualAttentionBlock, layout: Layout, x: Tensor, change: BlockChange) -> Tensor:
    """The last block's output at the end tokens alone, as `_at_ends`."""
    normed = change.ln_1(x) if change.ln_1 else layer_norm(block.ln_1, x)
    few = _at_ends(layout, normed)
    if layout.rows is not None:
        attended = attend_in_rows(project_normed(block, normed, change), layout.rows, ends=True)
    else:
        attended = attend_from_ends(layout, *project_normed_at(block, normed, few, change))
    return finish_changed(block, _at_ends(layout, x), few, attended, change)


# ---- attention, as the layout has it -----------------------------------------------------------------------------


def _heads(layout: Layout, qkv: Tensor) -> Heads | Tensor:
    """qkv (G, N, 3, H, d) for `_attend`."""
    return qkv if layout.rows is not None else split_heads(layout, qkv)


def _attend(layout: Layout, heads: Heads | Tensor, unprompted: bool = False) -> Tensor:
    """Attention of all tokens (G, N, W); `unprompted` with prompt tokens out of sight, and of no meaning there."""
    if isinstance(heads, Heads):
        return attend_grouped(layout, heads, unprompted)
    rows = layout.unprompted_rows if unprompted else layout.rows
    assert rows is not None  # `_heads` saw to it
    return attend_in_rows(heads, rows)


def _square_norm(layout: Layout, squares: Tensor) -> Tensor:
    """(G, K) squared norm of the shift, of which `squares` (G, N), at the tokens not learned; each class counts the
    prefix."""
    if layout.unprompted_rows is not None:
        return sum_over_rows(squares, layout.unprompted_rows)
    squares = squares * (layout.context < 0)
    shared, suffix = squares.split([layout.prefix, len(layout.class_of)], dim=1)
    own = suffix.new_zeros(len(suffix), len(layout.end)).index_add(1, layout.class_of, suffix)
    return own + shared.sum(1, keepdim=True)
