"""Class names as CLIP's text tower reads them: a token, or a learned context vector, at each position."""

from dataclasses import dataclass
from functools import lru_cache

from clip.simple_tokenizer import SimpleTokenizer

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
