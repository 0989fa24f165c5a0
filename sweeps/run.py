"""One run of a sweep. Imports nothing heavy: Slurm jobs start from it."""

from dataclasses import dataclass

from runs.protocols import is_embedded


@dataclass(frozen=True)
class Run:
    """One command line of train.py.

    Attributes:
        directory: of the run, as in `argv`; runs of one directory are one run.
        argv: from "train.py" on.
        title: the run in words, for people.
        dataset: its name in directories.
        needs: directory of the training whose checkpoint it evaluates, or None.
        epochs: of that training, or of this one.
        keeps: whether every checkpoint stays (somebody asked for a frequency), not only the last.
        alike: runs of equal `alike` take about as long; most telling part first.
    """

    directory: str
    argv: tuple[str, ...]
    title: str
    dataset: str
    needs: str | None
    epochs: int
    keeps: bool
    alike: tuple[str, ...]

    @property
    def trains(self) -> bool:
        """Whether it is a training, not an evaluation."""
        return "--eval-only" not in self.argv

    @property
    def embedded(self) -> bool:
        """Whether the backbone is so small that a second thread only waits."""
        return is_embedded(self.dataset)
