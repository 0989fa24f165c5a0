"""Class names as CLIP's text tower reads them, and where their tokens lie in memory so that it computes no padding.

At each position of a prompt stands a token, or a learned context vector (`ClassPrompts`). For the tower the prompts are
cut in two (`Layout`). The *prefix* is the longest beginning that all classes share (start token, context, tokens of the
template): it is computed once. The *suffixes* (class name to end token) lie one behind the other, the shorter before
the longer; attention takes those of one length together. Causal attention makes the cut exact: no prefix token sees a
suffix token.
"""

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import accumulate, groupby
from typing import NamedTuple

import torch
from clip.simple_tokenizer import SimpleTokenizer
from torch import Tensor

from promptclip.rows import Rows, rows_of

POSITIONS = ("end", "middle", "front")


@lru_cache(maxsize=1)
def tokenizer() -> SimpleTokenizer:
    """CLIP's byte-pair encoder (made once: reading its vocabulary takes a moment)."""
    return SimpleTokenizer()


def encode(text: str) -> list[int]:
    """Token ids of `text` between start (SOS) and end (EOT) token."""
    start, end = tokenizer().encoder["<|startoftext|>"], tokenizer().encoder["<|endoftext|>"]
    ids = [start, *tokenizer().encode(text), end]
    return ids[: ids.index(end) + 1]  # CLIP reads its feature at the first end token


@dataclass(frozen=True)
class ClassPrompts:
    """K prompts, ragged, up to and including each one's end token.

    Attributes:
        names: the K class names (or texts).
        ids: per prompt, its token ids; the id at a learned position is a place holder.
        context: per prompt, the learned context vector (0..n_ctx-1) at each position, -1 where none stands.
        class_specific: the context is (K, n_ctx, width), one per class, instead of shared (CoOp's CSC).
    """

    names: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    context: tuple[tuple[int, ...], ...]
    class_specific: bool = False

    @property
    def n_ctx(self) -> int:
        """Number of learned context vectors in a prompt."""
        return 1 + max(max(context) for context in self.context)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def from_texts(cls, texts: list[str], context_length: int = 77) -> "ClassPrompts":
        """Prompts without learned tokens, one per text (zero-shot CLIP).

        Raises:
            ValueError: a text needs more than `context_length` tokens, or there is none.
        """
        ids = [tuple(encode(text)) for text in texts]
        context = [(-1,) * len(row) for row in ids]
        return _checked(cls(tuple(texts), tuple(ids), tuple(context)), context_length)

    @classmethod
    def over_texts(cls, texts: list[str], n_ctx: int, context_length: int = 77) -> "ClassPrompts":
        """Prompts whose first `n_ctx` tokens after the start token are learned, in place of those of the texts (TCP).

        Raises:
            ValueError: a text has fewer than `n_ctx` tokens, or more than fit, or there is none.
        """
        plain = cls.from_texts(texts, context_length)
        short = [name for name, row in zip(plain.names, plain.ids, strict=True) if len(row) < n_ctx + 2]
        if short:
            raise ValueError(f"The text {short[0]!r} has fewer tokens than the {n_ctx} that are learned in its place.")
        context = tuple((-1, *range(n_ctx), *(-1,) * (len(row) - 1 - n_ctx)) for row in plain.ids)
        return replace(plain, context=context)

    @classmethod
    def with_context(
        cls,
        names: list[str],
        n_ctx: int,
        words: str = "",
        position: str = "end",
        class_specific: bool = False,
        context_length: int = 77,
    ) -> "ClassPrompts":
        """Prompts "<context> <name>." whose first `n_ctx` tokens are learned (CoOp, Eq. 2 of arXiv 2109.01134).

        Args:
            names: class names; "_" is read as a space.
            n_ctx: number of learned vectors.
            words: the written context; where it has more tokens than `n_ctx` the rest stays as fixed words
                (MaPLe's "a photo of a" with n_ctx 2). Empty: place holders only.
            position: where the class name stands: after the context (end), in its middle, or before it (front).
            class_specific: one context per class.
            context_length: positions of the text tower.

        Raises:
            ValueError: a prompt does not fit, `words` has fewer tokens than `n_ctx`, unknown `position`.
        """
        if position not in POSITIONS:
            raise ValueError(f"The class token position {position!r} is none of {', '.join(POSITIONS)}.")
        if n_ctx < 0 or n_ctx > context_length - 3:
            raise ValueError(
                f"n_ctx is {n_ctx}, but CLIP's prompt of {context_length} positions has room for 0 to "
                f"{context_length - 3} context tokens beside start token, class name and end token."
            )
        prefix = words.replace("_", " ") or " ".join(["X"] * n_ctx)
        if len(encode(prefix)) - 2 < n_ctx:
            raise ValueError(f"The context {prefix!r} has fewer tokens than n_ctx = {n_ctx}; lower n_ctx.")
        ids, context = [], []
        for name in (name.replace("_", " ") for name in names):
            row = encode(f"{prefix} {name}.".strip())
            index = [-1] + list(range(n_ctx)) + [-1] * (len(row) - 1 - n_ctx)
            order = _order(len(row), n_ctx, len(tokenizer().encode(name)), position)
            ids.append(tuple(row[i] for i in order))
            context.append(tuple(index[i] for i in order))
        return _checked(cls(tuple(names), tuple(ids), tuple(context), class_specific), context_length)


def _order(length: int, n_ctx: int, name_length: int, position: str) -> list[int]:
    """Positions of the "end" prompt in the order in which `position` wants them."""
    before = {"end": n_ctx, "middle": n_ctx // 2, "front": 0}[position]
    name = range(1 + n_ctx, 1 + n_ctx + name_length)
    if position == "end":
        return list(range(length))
    return [0, *range(1, 1 + before), *name, *range(1 + before, 1 + n_ctx), *range(name.stop, length)]


def _checked(prompts: ClassPrompts, context_length: int) -> ClassPrompts:
    if not prompts.ids:
        raise ValueError("There are no class names; a classifier needs at least one.")
    for name, row in zip(prompts.names, prompts.ids, strict=True):
        if len(row) > context_length:
            raise ValueError(
                f"The class name {name!r} needs {len(row)} tokens with its context, but CLIP's prompt holds "
                f"{context_length}; shorten the name or use fewer context tokens."
            )
    return prompts


# ---- where the tokens lie ------------------------------------------------------------------------------------------


class Group(NamedTuple):
    """The classes whose suffixes have one length.

    Attributes:
        classes: K', how many.
        length: S', tokens of each suffix.
        mask: (1, 1, S', P + S'), True where attention may look.
        unprompted_mask: the same with prompt tokens out of sight, for the shift; (K', 1, S', P + S') where suffixes
            hold some.
    """

    classes: int
    length: int
    mask: Tensor
    unprompted_mask: Tensor

    def to(self, device: torch.device) -> "Group":
        """The same group on `device`."""
        return self._replace(mask=self.mask.to(device), unprompted_mask=self.unprompted_mask.to(device))


@dataclass(frozen=True)
class Layout:
    """N = P + T tokens: P of the prefix, then K suffixes of T tokens in all, in the order of `groups`. See `lay_out`.

    Attributes:
        ids: (N,) token ids; at a prompt token's place the id holds the place only.
        context: (N,) which learned context vector stands at each place, -1 where none does.
        position: (N,) position in the prompt.
        prompts: (n',) places where a learned context vector stands.
        class_of: (T,) class of each suffix token.
        end: (K,) place of each suffix's end token, as the suffixes lie.
        rank: (K,) of each class, where its suffix lies among them.
        unprompted: (K,) how many tokens of a class's prompt are not learned.
        prefix_mask, unprompted_prefix_mask: (1, 1, P, P) as `Group`'s.
        groups: the classes, by length.
        prefix: P.
        n_ctx: number of learned context vectors.
        class_specific: the context differs per class.
        start: where the learned context vectors stand, one behind the other, if the prefix has all of them; else -1.
        rows, unprompted_rows: how attention on an accelerator has them, with and without prompt tokens; else None.
        origin: the same layout where it was made, on the CPU, so that others are made of it without a device's being
            asked for values; None there.
    """

    ids: Tensor
    context: Tensor
    position: Tensor
    prompts: Tensor
    class_of: Tensor
    end: Tensor
    rank: Tensor
    unprompted: Tensor
    prefix_mask: Tensor
    unprompted_prefix_mask: Tensor
    groups: tuple[Group, ...]
    prefix: int
    n_ctx: int
    class_specific: bool
    start: int = -1
    rows: Rows | None = None
    unprompted_rows: Rows | None = None
    origin: "Layout | None" = None

    @property
    def places(self) -> int:
        """Places that attention computes: more than there are tokens where it takes rows."""
        return len(self.ids) if self.rows is None else self.rows.classes * self.rows.length

    def to(self, device: torch.device) -> "Layout":
        """The same layout on `device`."""
        kinds = (Tensor, Rows)
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), kinds)}
        moved = {name: tensor.to(device) for name, tensor in tensors.items()}
        groups = tuple(group.to(device) for group in self.groups)
        return replace(self, **moved, groups=groups, origin=self.made_of)

    @property
    def made_of(self) -> "Layout":
        """Itself as it was made, or `origin`."""
        return self.origin or self


def in_rows(layout: Layout) -> Layout:
    """The layout, as it was made, with rows for an accelerator's attention."""
    lengths = torch.tensor([group.length for group in layout.groups for _ in range(group.classes)])
    context, rank = layout.context, layout.rank
    rows = rows_of(layout.prefix, lengths, rank, torch.ones(len(context), dtype=torch.bool))
    unprompted = rows_of(layout.prefix, lengths, rank, context < 0) if (context >= 0).any() else rows
    return replace(layout, rows=rows, unprompted_rows=unprompted)


def lay_out(prompts: ClassPrompts) -> Layout:
    """Where the tokens of `prompts` lie; at least the start token is prefix and at least the end token suffix."""
    cut = _common_prefix(prompts)
    lengths = [len(ids) - cut for ids in prompts.ids]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    pairs = [(0, s) for s in range(cut)] + [(k, cut + s) for k in order for s in range(lengths[k])]
    context = torch.tensor([prompts.context[k][s] for k, s in pairs])
    causal_prefix = torch.ones(cut, cut, dtype=torch.bool).tril()
    return Layout(
        ids=torch.tensor([prompts.ids[k][s] for k, s in pairs]),
        context=context,
        position=torch.tensor([s for _, s in pairs]),
        prompts=(context >= 0).nonzero().squeeze(1),
        class_of=torch.tensor([k for k, _ in pairs[cut:]]),
        end=torch.tensor(list(accumulate(lengths[k] for k in order))) + cut - 1,
        rank=torch.tensor(order).argsort(),
        unprompted=torch.tensor([sum(index < 0 for index in row) for row in prompts.context]),
        prefix_mask=causal_prefix[None, None],
        unprompted_prefix_mask=(causal_prefix & (context[:cut] < 0))[None, None],
        groups=tuple(_group(prompts, list(members), cut) for _, members in groupby(order, key=lengths.__getitem__)),
        prefix=cut,
        n_ctx=prompts.n_ctx,
        class_specific=prompts.class_specific,
        start=_start(context[:cut].tolist(), prompts.n_ctx),
    )


def _start(prefix: list[int], n_ctx: int) -> int:
    """`Layout.start` of the prefix's context indices."""
    start = prefix.index(0) if 0 in prefix else -1
    return start if start >= 0 and prefix[start : start + n_ctx] == list(range(n_ctx)) else -1


def _group(prompts: ClassPrompts, members: list[int], cut: int) -> Group:
    unprompted = torch.tensor([prompts.context[k] for k in members]) < 0  # (K', P + S')
    length = unprompted.shape[1] - cut
    causal = torch.ones(length, cut + length, dtype=torch.bool).tril(cut)
    if unprompted[:, cut:].all():  # only the prefix is learned: one mask serves all
        unprompted = unprompted[:1]
    return Group(len(members), length, causal[None, None], (causal & unprompted[:, None])[:, None])


def _common_prefix(prompts: ClassPrompts) -> int:
    """Number of leading places that are the same for all classes, the end token never among them."""
    cut = min(len(ids) for ids in prompts.ids) - 1
    first = list(zip(prompts.ids[0], prompts.context[0], strict=True))
    for ids, context in zip(prompts.ids, prompts.context, strict=True):
        same = 0
        while same < cut and first[same][1] == context[same] and (context[same] >= 0 or first[same][0] == ids[same]):
            same += 1
        cut = same
    if prompts.class_specific:
        cut = min([cut, *(context.index(0) for context in prompts.context if 0 in context)])
    return cut
