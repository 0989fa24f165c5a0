"""CLIP's text tower over ragged prompts with per-layer context, nothing computed after a class's end token."""

import torch
from clip.model import CLIP
from torch import Tensor

from promptclip.block import attend, finish, heads
from promptclip.packing import Layout
from promptclip.shift import FeatureShift, root, square_sum


class TextTower:
    """Runs the text blocks of `model` (frozen weights stay where they are)."""

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
        prefix, suffix = self._embed(layout, prompts[0])  # (G, P, W), (G, T, W)
        masks = [(layout.prefix_mask, layout.suffix_mask), (layout.bare_prefix_mask, layout.bare_suffix_mask)]
        masks = masks[: 1 + shift]
        norms = []
        for number, block in enumerate(self.blocks[:-1]):
            if number and prompts[number] is not None:
                prefix, suffix = self._place(layout, prompts[number], prefix, suffix)
            prefix, suffix, norm = self._block(block, layout, prefix, suffix, masks)
            norms.append(norm)
        last, context = self.blocks[-1], prompts[-1] if len(self.blocks) > 1 else None
        if context is not None:
            prefix, suffix = self._place(layout, context, prefix, suffix)
        if shift:
            _, suffix, norm = self._block(last, layout, prefix, suffix, masks)
            norms.append(norm)
            ends = suffix.index_select(1, layout.end)
        else:
            ends = self._last_block(last, layout, prefix, suffix)
        features = self.model.ln_final(ends) @ self.model.text_projection  # (G, K, D)
        grouped = prompts[0] is not None and prompts[0].dim() == 3 and not layout.specific
        entries = layout.entries * prefix.shape[-1]
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

    def _embed(self, layout: Layout, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Words and context with their positions, (G, P, W) and (G, T, W)."""
        model, dtype = self.model, self.model.dtype
        place = model.positional_embedding.to(dtype)
        words = model.token_embedding.weight.to(dtype)
        prefix = torch.where((layout.prefix_slot >= 0)[:, None], 0, words[layout.prefix_ids])
        suffix = torch.where((layout.slot >= 0)[:, None], 0, words[layout.ids])
        prefix = (prefix + place[: len(prefix)])[None]
        suffix = (suffix + place[layout.position])[None]
        if context is None:
            return prefix, suffix
        context = context.to(dtype)
        if layout.specific:
            learned = layout.learned
            return prefix, suffix.index_add(1, learned, context[layout.row[learned], layout.slot[learned]][None])
        context = context if context.dim() == 3 else context[None]  # (G, n, W)
        groups = len(context)
        return self._place(layout, context, prefix.expand(groups, -1, -1), suffix.expand(groups, -1, -1), add=True)

    @staticmethod
    def _place(layout: Layout, prompt: Tensor, prefix: Tensor, suffix: Tensor, add: bool = False) -> tuple:
        """Put (or add) the prompt (G or 1, n, W) at the learned places of prefix and suffixes."""
        prompt = prompt.to(prefix.dtype).expand(len(prefix), -1, -1)
        put = torch.index_add if add else torch.index_copy
        parts = ((prefix, layout.prefix_learned, layout.prefix_slot), (suffix, layout.learned, layout.slot))
        return tuple(put(x, 1, at, prompt.index_select(1, slot[at])) if len(at) else x for x, at, slot in parts)

    @staticmethod
    def _block(
        block: torch.nn.Module, layout: Layout, prefix: Tensor, suffix: Tensor, masks: list[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """One block; with a second pair of masks, also the norm (K,) of the shift against the pass it stands for."""
        pq, pk, pv = heads(block, prefix)
        sq, sk, sv = (layout.to_grid(t) for t in heads(block, suffix))
        sk, sv = _behind(pk, sk), _behind(pv, sv)
        outputs = []
        for prefix_mask, suffix_mask in masks:
            attended = layout.to_packed(attend(sq, sk, sv, suffix_mask))
            outputs.append((finish(block, prefix, attend(pq, pk, pv, prefix_mask)), finish(block, suffix, attended)))
        (prefix, suffix), norm = outputs[0], None
        if len(outputs) == 2:
            norm = _shift_norm(layout, prefix - outputs[1][0], suffix - outputs[1][1])
        return prefix, suffix, norm

    @staticmethod
    def _last_block(block: torch.nn.Module, layout: Layout, prefix: Tensor, suffix: Tensor) -> Tensor:
        """The last block's output at the end tokens alone, (G, K, W)."""
        q, sk, sv = heads(block, suffix, rows=layout.end)
        _, pk, pv = heads(block, prefix, rows=layout.prefix_ids.new_zeros(1))
        keys, values = _behind(pk, layout.to_grid(sk)), _behind(pv, layout.to_grid(sv))
        attended = attend(q[:, :, None], keys, values, layout.end_mask).squeeze(2)
        return finish(block, suffix.index_select(1, layout.end), attended)


def _behind(prefix: Tensor, suffix: Tensor) -> Tensor:
    """Keys (or values) of the prefix (G, P, H, d) before those of each suffix (G, K, S, H, d)."""
    return torch.cat([prefix[:, None].expand(-1, suffix.shape[1], -1, -1, -1), suffix], dim=2)


def _shift_norm(layout: Layout, prefix: Tensor, suffix: Tensor) -> Tensor:
    """(K,) Frobenius norm of the shift at the tokens that are not learned, each class counting the shared prefix."""
    squares = square_sum(suffix, -1) * (layout.slot < 0)  # (G, T)
    own = squares.new_zeros(len(squares), len(layout.end)).index_add(1, layout.row, squares)
    shared = (square_sum(prefix, -1) * (layout.prefix_slot < 0)).sum(-1, keepdim=True)
    return root(own + shared).mean(0)
