"""Where a CLIP comes from, and what is known of it before its weights are there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from clip.model import CLIP

from promptclip.preprocessing import Preprocessing


@dataclass(frozen=True)
class Source:
    """A CLIP that can be loaded.

    Attributes:
        read: fetches and reads its weights. Raises ValueError or ConnectionError.
        preprocessing: what its weights were trained with; None: CLIP's own, at the resolution that the weights say.
        origin: where the weights come from, in words; "" where the name says it all.
    """

    read: Callable[[], CLIP]
    preprocessing: Preprocessing | None = None
    origin: str = ""


@contextmanager
def described_by(name: str) -> Iterator[None]:
    """What goes wrong with the configuration of the CLIP called `name`, which may be anybody's file, as ValueError."""
    try:
        yield
    except (ValueError, OSError, ImportError):
        raise  # sentences
    except Exception as error:  # values of other types make who reads them stumble in many ways
        raise ValueError(f"{name} has a damaged configuration ({type(error).__name__}: {error!s:.200}).") from error


def check_activation(given: str, known: str, name: str) -> None:
    """Raise ValueError if another activation was `given` than is `known` of the CLIP called `name`."""
    if given not in ("", known):
        raise ValueError(
            f"MODEL.BACKBONE.ACTIVATION is {given}, but {name} was trained with {known}; leave the option out."
        )
