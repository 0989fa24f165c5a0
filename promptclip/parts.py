"""What a trained classifier is put together from again: parts that a file can name, with their settings and tensors."""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, ClassVar

from torch import nn

import promptclip

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
        new_classes: why class names other than those it was trained on cannot be given; "" where they can.
    """

    kind: ClassVar[str] = ""
    training_only: tuple[str, ...] = ()
    new_classes = ""

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

    def resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Take on the shapes of entries of a checkpoint that is about to be loaded, where the data decide them."""

    def with_template(self, template: str) -> "Part":
        """Where it puts class names into texts: the same part with `template` as these texts, {} being the name.

        Raises:
            ValueError: it has none, or what is learned stands in their place.
        """
        raise ValueError("what it learned stands in the place of a template")

    def trained(self) -> "Part":
        """The form in which a file holds the trained part: itself, unless a simpler one computes the same.

        Raises:
            ValueError: the part has no kind, so that no file can name it.
        """
        if not self.kind:
            raise ValueError(
                f"{type(self).__name__} is a part without a kind, which no file can name: declare it as "
                f'`class {type(self).__name__}({type(self).__base__.__name__}, kind="...")`, or give it a method '  # type: ignore[union-attr]
                "`trained`."
            )
        return self


def names_of_training(module: nn.Module) -> set[str]:
    """Names of parameters and buffers of `module` that only training needs, as its modules' `training_only` says."""
    needed = {
        f"{place}.{name}" if place else name
        for place, inner in module.named_modules()
        for name in getattr(inner, "training_only", ())
    }
    return needed & {name for name, _ in (*module.named_parameters(), *module.named_buffers())}


def kind(name: str) -> type[Part]:
    """The class of parts that files call `name`; every module of this package is looked through.

    Raises:
        ValueError: there is none.
    """
    if name not in KINDS:
        for module in iter_modules(promptclip.__path__, "promptclip."):
            if not module.ispkg and not module.name.endswith("__main__"):
                import_module(module.name)
    if name not in KINDS:
        raise ValueError(
            f"There is no kind of part {name!r} in this version of promptclip (there are {', '.join(sorted(KINDS))}); "
            "install the version that the file was written with, or import the module that declares the part."
        )
    return KINDS[name]
