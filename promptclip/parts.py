"""What a trained classifier is put together from again: parts that a file can name, with their settings and tensors."""

from typing import Any, ClassVar

from torch import nn

KINDS: dict[str, type["Part"]] = {}
"""The classes of parts, by the name that stands for them in files."""


class Part(nn.Module):
    """A piece of what a method learns: prompts, changes of blocks, corrections of features, class texts, a head.

    A subclass is declared as `class Surgery(Part, kind="surgery")`. Its constructor takes plain values alone (numbers,
    texts, lists and dicts of them), so that `KINDS[kind](**part.settings())` has the same shapes, and draws its
    initial values there; all else that it needs at test time lies in its state. Names of kinds and settings stay for
    good: files hold them. A class without a kind is a base class, or one that `trained` brings into another form.

    Attributes:
        training_only: names of entries of its state that only training needs.
    """

    kind: ClassVar[str] = ""
    training_only: tuple[str, ...] = ()

    def __init_subclass__(cls, kind: str = "", **other: Any) -> None:
        super().__init_subclass__(**other)
        cls.kind = kind
        if kind:
            if kind in KINDS:
                raise KeyError(f"Two parts are called {kind!r}: {KINDS[kind].__qualname__} and {cls.__qualname__}.")
            KINDS[kind] = cls

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments that make a part of the same shapes and behaviour, as JSON has them."""
        return {}

    def trained(self) -> "Part":
        """The form in which a file holds the trained part: itself, unless a simpler one computes the same."""
        return self
