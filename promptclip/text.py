"""CLIP's text tower over ragged prompts with per-layer context, nothing computed after a class's end token."""

from typing import NamedTuple

import torch
from clip.model import CLIP
from torch import Tensor

from promptclip.block import attend, finish, project, project_learned, project_some
from promptclip.memory import running
from promptclip.packing import Layout
from promptclip.shift import FeatureShift, SquareDistance, root


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
        self, layout: Layout, prompts: list[Tensor | None] = (), shift: bool = False
    ) -> tuple[Tensor, FeatureShift | None]:
        """Features (K, D) of K prompts, and their feature shift if asked for.

        Args:
            layout: the prompts, packed (`packing.pack`), on the weights' device.
            prompts: per block an (n, width) context or None. Entry 0 may be (K, n, width) where the layout is class
                specific, or (G, n, width): G contexts, each for all classes, which gives features (G, K, D).
            shift: measure the shift of every block (Eq. 6); samples are the classes.

        Raises:
            ValueError: more prompts than blocks, or a prompt of another shape than the layout has places for.
        """
        prompts = [*prompts, *[None] * (len(self.blocks) - len(prompts))]
        self._check(layout, prompts)
        x = self._embed(layout, prompts[0])  # (G, N, W)
        norms = []
        for number, block in enumerate(self.blocks):
            if number and prompts[number] is not None:
                x = self._place(layout, prompts[number], x)
            if number == len(self.blocks) - 1 and not shift:
                x = self._last_block(block, layout, x)  # (G, K, W)
                break
            run = running(self._block, self.checkpointing)
            x, norm = run(block, layout, x, shift, entry=number == 0)
            norms.append(norm)
        ends = x.index_select(1, layout.end) if shift else x
        features = self.model.ln_final(ends) @ self.model.text_projection
        features = features.index_select(1, layout.rank)  # (G, K, D)
        grouped = prompts[0] is not None and prompts[0].dim() == 3 and not layout.specific
        entries = layout.entries * x.shape[-1]
        return features if grouped else features[0], FeatureShift(torch.stack(norms), entries) if shift else None

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
        """Words and context with their positions, (G, N, W)."""
        model, dtype = self.model, self.model.dtype
        words = model.token_embedding.weight[layout.ids].to(dtype)
        words = torch.where((layout.slot >= 0)[:, None], 0, words)
        x = (words + model.positional_embedding[layout.position].to(dtype))[None]
        if context is None:
            return x
        context = context.to(dtype)
        if layout.specific:
            cut, learned = layout.prefix, layout.learned  # none of them in the prefix
            return x.index_add(1, learned, context[layout.row[learned - cut], layout.slot[learned]][None])
        context = context if context.dim() == 3 else context[None]  # (G, n, W)
        x = x.expand(len(context), -1, -1)
        return x.index_add(1, layout.learned, context.index_select(1, layout.slot[layout.learned]))

    @staticmethod
    def _place(layout: Layout, prompt: Tensor, x: Tensor) -> Tensor:
        """Put the prompt (n, W) at the learned places of x (G, N, W)."""
        prompt = prompt.to(x.dtype).expand(len(x), -1, -1)
        return x.index_copy(1, layout.learned, prompt.index_select(1, layout.slot[layout.learned]))

    @staticmethod
    def _block(
        block: torch.nn.Module, layout: Layout, x: Tensor, shift: bool, entry: bool
    ) -> tuple[Tensor, Tensor | None]:
        """One block, and the norm (K,) of its shift against the same input with learned tokens out of sight.

        At the `entry` words are constants; so are their queries, keys and values, and all of the pass without prompts.
        """
        qkv = project_learned(block, x, layout.learned) if entry else project(block, x)
        heads = _heads(layout, qkv)
        out = finish(block, x, _attend(layout, heads))
        if not shift:
            return out, None
        with torch.set_grad_enabled(torch.is_grad_enabled() and not entry):
            bare = finish(block, x, _attend(layout, heads, bare=True))
        return out, _shift_norm(layout, SquareDistance.apply(out, bare))

    @staticmethod
    def _last_block(block: torch.nn.Module, layout: Layout, x: Tensor) -> Tensor:
        """The last block's output at the end tokens alone, (G, K, W) as the suffixes lie."""
        q, kv = project_some(block, x, layout.end)
        prefix, suffixes = layout.parts(kv)
        queries = q.split([group.classes for group in layout.groups], dim=1)
        attended = [
            attend(own.flatten(0, 1)[:, None], *_behind(prefix, suffix)).view(*own.shape[:2], -1)
            for own, suffix in zip(queries, suffixes, strict=True)  # an end token sees all before it
        ]
        return finish(block, x.index_select(1, layout.end), torch.cat(attended, dim=1))


class _Heads(NamedTuple):
    """What attention takes, H heads of width d: the prefix's queries, keys and values, each (G, P, H, d), and for each
    group the suffixes' queries (G * K', S', H, d), and keys and values of all they may see (G * K', P + S', H, d)."""

    prefix: tuple[Tensor, Tensor, Tensor]
    suffixes: list[tuple[Tensor, Tensor, Tensor]]


def _heads(layout: Layout, qkv: Tensor) -> _Heads:
    """qkv (G, N, 3, H, d) for `_attend`, made once for the passes with and without prompts."""
    q, kv = qkv.split([1, 2], dim=2)  # rather than by index, whose gradient is a tensor of zeros to add to
    (queries, own_queries), (prefix, suffixes) = layout.parts(q.squeeze(2)), layout.parts(kv)
    own = [(query, *_behind(prefix, suffix)) for query, suffix in zip(own_queries, suffixes, strict=True)]
    return _Heads((queries, *prefix.unbind(2)), own)


def _attend(layout: Layout, heads: _Heads, bare: bool = False) -> Tensor:
    """Attention of all tokens (G, N, W): of the prefix over itself, of each suffix over the prefix and itself; `bare`
    with learned tokens out of sight."""
    masks = [group.bare_mask if bare else group.mask for group in layout.groups]
    suffixes = [attend(*own, _each(mask, own[0])) for own, mask in zip(heads.suffixes, masks, strict=True)]
    return layout.packed(attend(*heads.prefix, layout.bare_prefix_mask if bare else layout.prefix_mask), suffixes)


def _behind(prefix: Tensor, suffixes: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values, each (G * K', P + S', H, d): of the prefix (G, P, 2, H, d) before each suffix's."""
    classes = len(suffixes) // len(prefix)
    before = prefix[:, None].expand(-1, classes, -1, -1, -1, -1).flatten(0, 1)
    return torch.cat([before, suffixes], dim=1).unbind(2)


def _each(mask: Tensor, rows: Tensor) -> Tensor:
    """A mask that serves all, or one a class, (1 or K', 1, ., .), for each of G * K' rows."""
    return mask if len(mask) == 1 else mask.repeat(len(rows) // len(mask), 1, 1, 1)


def _shift_norm(layout: Layout, squares: Tensor) -> Tensor:
    """(K,) norm of the shift, of which `squares` (G, N), at the tokens not learned; each class counts the prefix."""
    squares = squares * (layout.slot < 0)
    shared, suffix = squares.split([layout.prefix, len(layout.row)], dim=1)
    own = suffix.new_zeros(len(suffix), len(layout.end)).index_add(1, layout.row, suffix)
    return root(own + shared.sum(1, keepdim=True)).mean(0)
