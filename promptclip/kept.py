"""What a training step keeps for its backward pass, counted before it is taken, tensor by tensor.

Held against what a step really keeps in tests, and with `python -m benchmarks.memory` and `python -m benchmarks.sizes`.
Everything is counted in numbers (elements); what is small beside a token's width is left out.
"""

from collections.abc import Callable, Sequence

from clip.model import CLIP, Transformer

from promptclip.changes import BlockChange
from promptclip.class_prompts import Layout
from promptclip.prompts import blocks, is_vit

WIDTHS_OF_DELTA, WIDTHS_OF_DROPOUT, WIDTHS_OF_ADAPTER = 1, 7, 1  # their inputs; of dropout's three, masks as well


def in_block(tower: Transformer, tokens: int, attention: int, shift: bool = False, first: bool = False) -> int:
    """Kept of `tokens` tokens in one block: the inputs of both norms, the perceptron's hidden layer, and what
    `attention` keeps.

    For the shift the second half once more, and the distance; in the `first` block that half sees nothing learned.
    """
    hidden = tower.resblocks[0].mlp.c_fc.out_features
    more = 0 if not shift else 2 * tower.width + (0 if first else hidden)
    return tokens * (2 * tower.width + hidden + more) + attention


def of_text(
    model: CLIP, layout: Layout, shift: bool, changes: Sequence[BlockChange | None], constant: bool = False
) -> int:
    """Numbers that the text tower keeps of one pass. A tower keeps something from the first block on that something
    learned enters.

    Args:
        model: the CLIP.
        layout: the classes.
        shift: whether the pass measures the shift.
        changes: of the blocks.
        constant: the unprompted pass is a constant.
    """
    tower, width = model.transformer, model.ln_final.weight.shape[0]
    depth, shared, classes = blocks(model)[0], len(layout.ids), len(layout.end)
    whole = sum(group.classes * (group.length + layout.prefix) for group in layout.groups)
    own = first_change(changes, lambda one: one.random or one.class_tokens is not None)
    begin = 0 if layout.n_ctx else first_change(changes)
    put_in = first_change(changes, lambda one: one.tokens is not None)
    inserted = max((len(one.tokens) for one in changes if one and one.tokens is not None), default=0)
    total = 0
    for number in range(begin, depth):
        unshared, more = number >= own, inserted * (number >= put_in)
        tokens = (whole + classes * more) if unshared else shared + more
        seen = width * ((whole if layout.rows is None else layout.places) + classes * more)
        in_rows = layout.rows is not None
        if number == depth - 1 and not shift:  # the end tokens alone
            total += in_block(tower, classes, (4 if in_rows else 2) * seen + width * tokens)
            continue
        # queries, keys, values and the result, as rows; or keys and values behind a copy of the prefix's
        attention = 4 * seen * (1 + shift) if in_rows else (4 + shift) * width * tokens + 2 * seen
        total += in_block(tower, tokens, attention, shift, number == begin or constant)
    return total + max(0, (whole if own < depth else shared) * beside_blocks(changes, width))


def of_vision(
    model: CLIP,
    images: int,
    prompts: int,
    shift: bool,
    changes: Sequence[BlockChange | None],
    shares: bool,
    constant: bool = False,
) -> int:
    """Numbers that the vision tower keeps of `images` images.

    Args:
        model: the CLIP.
        images: how many.
        prompts: tokens of a prompt; 0: none are learned.
        shift: whether the pass measures the shift.
        changes: of the blocks.
        shares: attention with and without prompts is made of parts, which keeps its softmax (`block.attend_with_and_
            without`, on a CPU).
        constant: the unprompted pass is a constant.
    """
    depth = blocks(model)[1]
    begin = 0 if prompts else first_change(changes)
    if not is_vit(model) or begin >= depth:
        return 0
    tower, width = model.visual.transformer, model.visual.positional_embedding.shape[1]
    inserted = max((len(one.tokens) for one in changes if one and one.tokens is not None), default=0)
    own = len(model.visual.positional_embedding) + inserted
    tokens = images * (own + prompts)
    total = 0
    for number in range(begin, depth):
        if number == depth - 1 and not shift:  # the class token alone: keys and values of all
            total += in_block(tower, images, 3 * width * tokens)
            continue
        attention = (4 + 2 * shift) * width * tokens
        if shift and shares:
            attention += tokens * own * tower.resblocks[0].attn.num_heads
        total += in_block(tower, tokens, attention, shift, number == begin or constant)
    return total + tokens * beside_blocks(changes, width)


def first_change(
    changes: Sequence[BlockChange | None], counts: Callable[[BlockChange], bool] = lambda change: True
) -> int:
    """How many blocks come before the first with a change that `counts`; a great many where there is none."""
    return next((n for n, change in enumerate(changes) if change is not None and counts(change)), 1_000_000)


def beside_blocks(changes: Sequence[BlockChange | None], width: int) -> int:
    """What changes keep of a token beside the blocks, all of them together."""
    widths = sum(
        (WIDTHS_OF_DROPOUT if change.random else WIDTHS_OF_DELTA) * (change.delta is not None)
        + WIDTHS_OF_ADAPTER * (change.adapter is not None)
        for change in changes
        if change is not None
    )
    return widths * width
