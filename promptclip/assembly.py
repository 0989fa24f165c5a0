"""From a trained learner to the parts that a file holds, and from these to a learner that only predicts."""

from collections.abc import Sequence

from promptclip.changes import Changes
from promptclip.folder import PLACES
from promptclip.learner import Corrections, PromptLearner
from promptclip.parts import Part


def parts_of(learner: PromptLearner) -> dict[str, Part]:
    """The parts of a trained learner that predicting needs, in the form that files hold.

    Raises:
        ValueError: one has no such form.
    """
    there = {place: getattr(learner, place) for place in PLACES}
    bare = {place: part for place, part in there.items() if part is not None and not _does_nothing(part)}
    return {place: part.trained() for place, part in bare.items()}


def _does_nothing(part: Part) -> bool:
    """Whether it is one of the base classes that stand where a method has nothing."""
    return type(part) in (Changes, Corrections)


def learner_of(parts: dict[str, Part], trained_on: Sequence[str] = ()) -> PromptLearner:
    """A learner that only predicts."""
    others = {place: part for place, part in parts.items() if place != "prompts"}
    return PromptLearner(parts["prompts"], {}, trained_on=trained_on, **others)  # type: ignore[arg-type]
