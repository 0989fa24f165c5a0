"""How a trainer saves, loads and resumes the models registered with it."""

import os
import os.path as osp
import re
from typing import Any

from dassl.utils.checkpoint import (
    POINTER,
    CheckpointError,
    load_checkpoint,
    load_named,
    load_weights,
    newest_name,
    require_keys,
    restore,
    write_checkpoint,
    write_pointer,
)
from dassl.utils.rng import get_rng_state, set_rng_state

BEST = "model-best.pth.tar"


class Saving:
    """Checkpoints of a trainer: one folder a registered model, `<directory>/<name>/model.pth.tar-<epoch>`.

    Besides weights, optimiser and schedule they hold, under `resume`, what a resumed run needs to equal an
    uninterrupted one: the state of all random number generators, the best validation result and the gradient scaler.
    """

    _pending_rng: dict[str, Any] | None = None

    def save_model(
        self,
        epoch: int,
        directory: str,
        is_best: bool = False,
        val_result: float | None = None,
        model_name: str = "",
    ) -> None:
        """Save every registered model after the 0-based `epoch`; the files say epoch + 1. Raises OSError."""
        resume = self._resume_state()
        written = []
        for name in self.get_model_names():
            optim, sched = self._optims[name], self._scheds[name]
            state = {
                "state_dict": self._models[name].state_dict(),
                "epoch": epoch + 1,
                "optimizer": None if optim is None else optim.state_dict(),
                "scheduler": None if sched is None else sched.state_dict(),
                "val_result": None if val_result is None else float(val_result),
                "resume": resume,
            }
            folder = osp.join(directory, name)
            written.append(write_checkpoint(state, folder, model_name=model_name))
            if is_best:
                write_checkpoint(state, folder, model_name=BEST)
        # Only when every model is on the disk does any of them count as the newest.
        for path in written:
            write_pointer(path)

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load every registered model's weights from `directory`: model.pth.tar-<epoch>, or the best one on val.

        Loading is strict. Raises FileNotFoundError that names the epochs there are, or CheckpointError.
        """
        if not directory:
            print("Note that load_model() is skipped as no pretrained model is given")
            return
        file = BEST if epoch is None else f"model.pth.tar-{epoch}"
        for name in self.get_model_names():
            path = osp.join(directory, name, file)
            if not osp.isfile(path):
                raise FileNotFoundError(f'There is no checkpoint at "{path}"; {_what_there_is(directory, name)}')
            checkpoint = load_checkpoint(path)
            require_keys(checkpoint, path, "state_dict", "epoch")
            print(f'Loading weights to {name} from "{path}" (epoch = {checkpoint["epoch"]})')
            load_weights(self._models[name], checkpoint["state_dict"], path)

    def resume_model_if_exist(self, directory: str) -> int:
        """Restore the newest checkpoint of every registered model, if all have one; return the epoch to go on with.

        Raises CheckpointError if one of them cannot be used.
        """
        names = self.get_model_names()
        folders = [osp.join(directory, name) for name in names]
        if not names or not all(osp.isfile(osp.join(folder, POINTER)) for folder in folders):
            print("No checkpoint found, train from scratch")
            return 0
        print(f"Found checkpoint at {directory} (will resume training)")
        file = _common_newest(folders)
        found = [load_named(folder, file) for folder in folders]
        epochs = {name: checkpoint["epoch"] for name, (_, checkpoint) in zip(names, found, strict=True)}
        if len(set(epochs.values())) > 1:
            raise CheckpointError(
                f'Training cannot be resumed: "{file}" is of different epochs below "{directory}" ({epochs}); '
                f"write the name of a checkpoint that all models have into each file {POINTER}."
            )
        for name, (path, checkpoint) in zip(names, found, strict=True):
            print(f'Loading checkpoint from "{path}"')
            restore(checkpoint, path, self._models[name], self._optims[name], self._scheds[name])
        epoch = next(iter(epochs.values()))
        print(f"Previous epoch: {epoch}")
        self._take_resume_state(found[0][1].get("resume"), found[0][0])
        return epoch

    def restore_rng(self) -> None:
        """Put the random number generators to where the resumed checkpoint was written; without one, do nothing."""
        if self._pending_rng is not None:
            set_rng_state(self._pending_rng)
            self._pending_rng = None

    def _resume_state(self) -> dict[str, Any]:
        scaler = getattr(self, "scaler", None)
        return {
            "rng": get_rng_state(),
            "best_result": float(getattr(self, "best_result", float("-inf"))),
            "scaler": scaler.state_dict() if hasattr(scaler, "state_dict") else None,
        }

    def _take_resume_state(self, state: dict[str, Any] | None, path: str) -> None:
        """Take over what save_model put under `resume`; upstream's checkpoints have none."""
        if state is None:
            print(f'"{path}" holds no random number state: the data order from here on is a new one.')
            return
        try:
            self._pending_rng = state["rng"]
            self.best_result = state["best_result"]
            if state["scaler"] is not None and getattr(self, "scaler", None) is not None:
                self.scaler.load_state_dict(state["scaler"])
        except (KeyError, TypeError) as err:
            raise CheckpointError(f'The entry "resume" of "{path}" is incomplete ({err!r}).') from err


def _common_newest(folders: list[str]) -> str:
    """Return the newest file that every folder holds; they disagree if a run was killed between two of its models."""
    named = {newest_name(folder) for folder in folders}
    everywhere = [name for name in named if all(osp.isfile(osp.join(folder, name)) for folder in folders)]
    # With nothing in common, the reader of the first one words the error.
    return max(everywhere or named, key=_epoch_of)


def _epoch_of(name: str) -> int:
    match = re.search(r"-(\d+)$", name)
    return int(match.group(1)) if match else -1


def _what_there_is(directory: str, name: str) -> str:
    """Say which checkpoints of `name` there are below `directory`, or which folder is missing."""
    folder = osp.join(directory, name)
    if not osp.isdir(directory):
        return f'the folder "{directory}" does not exist.'
    if not osp.isdir(folder):
        return f'"{directory}" holds no folder "{name}", so it belongs to another trainer or a run that saved nothing.'
    files = sorted((f for f in os.listdir(folder) if f.startswith("model")), key=_epoch_of)
    return f"that folder holds {', '.join(files) or 'no checkpoint'}."
