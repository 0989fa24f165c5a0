"""The plain, obvious prompted CLIP that the fast towers must equal: every position of every prompt, two full passes
for the feature shift, `clip`'s own blocks. It is the benchmarks' other side and the tests' oracle."""

from collections.abc import Sequence

import torch
from clip.model import CLIP, ResidualAttentionBlock
from torch import Tensor

from promptclip.changes import UNCHANGED, BlockChange, after_first
from promptclip.class_prompts import ClassPrompts
from promptclip.model import PromptedCLIP
from promptclip.shift import Encoded, FeatureShift, square_sum


def padded(classes: ClassPrompts, context_length: int = 77) -> tuple[Tensor, Tensor]:
    """Token ids and learned places as (K, context_length) tensors, 0 and -1 after the end token."""
    ids = torch.zeros(len(classes), context_length, dtype=torch.long)
    context = torch.full_like(ids, -1)
    for k, (row, slot) in enumerate(zip(classes.ids, classes.context, strict=True)):
        ids[k, : len(row)] = torch.tensor(row)
        context[k, : len(row)] = torch.tensor(slot)
    return ids, context


def run_block(block: torch.nn.Module, x: Tensor) -> Tensor:
    """clip's own block on a batch of sequences (N, L, W)."""
    return block(x.permute(1, 0, 2)).permute(1, 0, 2)


def run_changed(block: ResidualAttentionBlock, x: Tensor, change: BlockChange, causal: bool) -> Tensor:
    """The same with the block's parts changed, step by step."""
    attn = block.attn
    normed = (change.ln_1 or block.ln_1)(x)
    qkv = normed @ attn.in_proj_weight.t() + attn.in_proj_bias
    if change.delta is not None:
        qkv = qkv + change.delta(normed, "qkv")
    q, k, v = (part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for part in qkv.chunk(3, -1))
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if causal:
        scores = scores + torch.full_like(scores[0, 0], float("-inf")).triu(1)
    h = x + attn.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
    out = h + block.mlp((change.ln_2 or block.ln_2)(h))
    return out if change.adapter is None else out + change.adapter(normed)


def norm(shift: Tensor, seen: Tensor | None = None) -> Tensor:
    """(N,) Frobenius norm of a shift (N, L, W), at the positions that are `seen` (N, L)."""
    squares = square_sum(shift, -1)
    squares = squares if seen is None else squares * seen
    return squares.sum(-1).clamp_min(torch.finfo(squares.dtype).tiny).sqrt()


def text(
    model: CLIP,
    classes: ClassPrompts,
    prompts: Sequence[Tensor | None],
    shift: bool = True,
    changes: Sequence[BlockChange | None] = (),
    constant: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """(features (K, D), shift norms (L, K)) of all classes at once, each 77 positions long."""
    inserted = 0
    device = model.logit_scale.device
    ids, context = (t.to(device) for t in padded(classes, model.context_length))
    ends = torch.tensor([len(row) - 1 for row in classes.ids], device=device)
    rows, places = (context >= 0).nonzero(as_tuple=True)
    tokens = (context < 0).nonzero()[:, 1].view(len(classes), -1)  # the same number in every class
    seen = tokens <= ends[:, None]
    every = torch.arange(len(classes), device=device)

    def put(x: Tensor, prompt: Tensor | None) -> Tensor:
        if prompt is None:
            return x
        new = prompt[context[rows, places]] if prompt.dim() == 2 else prompt[rows, context[rows, places]]
        return x.index_put((rows, places + inserted), new.to(x.dtype))

    x = put(model.token_embedding(ids).type(model.dtype), prompts[0] if prompts else None)
    x = x + model.positional_embedding.type(model.dtype)
    norms = []
    for number, block in enumerate(model.transformer.resblocks):
        if 0 < number < len(prompts):
            x = put(x, prompts[number])
        change = changes[number] if number < len(changes) else None
        if change is not None and change.tokens is not None:
            x = after_first(x, change.tokens, inserted)
            inserted = len(change.tokens)
        if change is not None and change.class_tokens is not None:
            n = change.class_tokens.shape[1]
            x = torch.cat([x[:, :1], change.class_tokens.to(x.dtype), x[:, 1 + n :]], dim=1)
        if shift:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not constant):
                unprompted = run_block(block, x[every[:, None], tokens])
        x = run_changed(block, x, change or UNCHANGED, True) if any(changes) else run_block(block, x)
        if shift:
            norms.append(norm(x[every[:, None], tokens] - unprompted, seen))
    features = model.ln_final(x).type(model.dtype)[every, ends + inserted] @ model.text_projection
    return features, torch.stack(norms) if shift else None


def vision(
    model: CLIP,
    images: Tensor,
    prompts: Sequence[Tensor | None],
    shift: bool = True,
    changes: Sequence[BlockChange | None] = (),
    constant: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """(features (B, D), shift norms (L, B), what became of tokens put in (B, n, W))."""
    inserted = 0
    visual = model.visual
    x = visual.conv1(images.type(model.dtype)).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
    x = x + visual.positional_embedding.to(x.dtype)
    tokens = x.shape[1]
    if prompts and prompts[0] is not None:
        x = torch.cat([x, prompts[0].to(x.dtype).expand(len(x), -1, -1)], dim=1)
    x = visual.ln_pre(x)
    norms = []
    for number, block in enumerate(visual.transformer.resblocks):
        prompt = prompts[number] if 0 < number < len(prompts) else None
        if prompt is not None:
            x = torch.cat([x[:, :tokens], prompt.to(x.dtype).expand(len(x), -1, -1)], dim=1)
        change = changes[number] if number < len(changes) else None
        if change is not None and change.tokens is not None:
            x, tokens = after_first(x, change.tokens, inserted), tokens - inserted + len(change.tokens)
            inserted = len(change.tokens)
        if shift:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not constant):
                unprompted = run_block(block, x[:, :tokens])
        x = run_changed(block, x, change or UNCHANGED, False) if any(changes) else run_block(block, x)
        if shift:
            norms.append(norm(x[:, :tokens] - unprompted))
    x = visual.ln_post(x)
    features, put_in = x[:, 0] @ visual.proj, x[:, 1 : 1 + inserted] if inserted else None
    return features, torch.stack(norms) if shift else None, put_in


class PlainCLIP(PromptedCLIP):
    """Stands in for a trainer's `PromptedCLIP`; its "layout" is the class prompts themselves.

    Args:
        model: the frozen CLIP.
        slice_size: for timing only: so many classes at a time go through the text tower, each slice's backward pass
            following at once with gradient 1 in place of the loss's, so that one slice's activations are in memory.
            The arithmetic is that of the plain step, the gradient of the text prompts is not.
    """

    def __init__(self, model: CLIP, slice_size: int = 0) -> None:
        super().__init__(model)
        self.slice_size = slice_size

    def layout(self, classes: ClassPrompts) -> ClassPrompts:  # type: ignore[override]
        """Nothing is laid out."""
        return classes

    @torch.no_grad()
    def encode_texts(self, texts: list[str], batch: int = 512) -> Tensor:
        """Features (N, D) of plain texts."""
        return self.encode_text(ClassPrompts.from_texts(texts, self.model.context_length)).features

    def encode_image(
        self,
        images: Tensor,
        prompts: Sequence[Tensor | None] = (),
        shift: bool = False,
        changes: Sequence[BlockChange | None] = (),
        constant: bool = False,
    ) -> Encoded:
        """Features (B, D) of images (B, 3, H, W)."""
        features, norms, put_in = vision(self.model, images, prompts, shift, changes, constant)
        tokens = self.model.visual.positional_embedding.numel()
        entries = torch.full((len(images),), tokens, device=features.device)  # more than half precision counts to
        return Encoded(features, None if norms is None else FeatureShift(norms, entries), put_in)

    def encode_text(  # type: ignore[override]
        self,
        layout: ClassPrompts,
        prompts: Sequence[Tensor | None] = (),
        shift: bool = False,
        changes: Sequence[BlockChange | None] = (),
        constant: bool = False,
    ) -> Encoded:
        """Features (K, D) of K class prompts."""
        sliced = self.slice_size and torch.is_grad_enabled()
        parts = _slices(layout, self.slice_size) if sliced else [layout]
        found, shifts = [], []
        for part in parts:
            features, norms = text(self.model, part, prompts, shift, changes, constant)
            norms = features.new_zeros(0) if norms is None else norms
            if sliced:
                (features.sum() + norms.sum()).backward()
                features, norms = features.detach(), norms.detach()
            found.append(features)
            shifts.append(norms)
        features = torch.cat(found)
        if not shift:
            return Encoded(features)
        width = self.model.positional_embedding.shape[1]
        entries = [width * sum(index < 0 for index in row) for row in layout.context]
        return Encoded(features, FeatureShift(torch.cat(shifts, 1), torch.tensor(entries, device=features.device)))


def _slices(classes: ClassPrompts, size: int) -> list[ClassPrompts]:
    starts = range(0, len(classes), size)
    return [
        ClassPrompts(classes.names[i : i + size], classes.ids[i : i + size], classes.context[i : i + size])
        for i in starts
    ]
