"""How a trainer saves, loads and resumes the models registered with it."""

import os
import os.path as osp
import re
from typing import Any

from dassl.utils.checkpoint import (
    DAMAGE,
    POINTER,
    CheckpointError,
    load_checkpoint,
    load_named,
    newest_name,
    require_keys,
    write_checkpoint,
    write_pointer,
)
from dassl.utils.logger import MetricMeter
from dassl.utils.restoring import load_weights, restore
from dassl.utils.tools import get_rng_state, set_rng_state

BEST = "model-best.pth.tar"


class Saving:
    """Checkpoints of a trainer: one folder a registered model, `<directory>/<name>/model.pth.tar-<epoch>`.

    Besides weights, optimiser and schedule they hold, under `resume`, what a resumed run needs to equal an
    uninterrupted one: the state of all random number generators, the best validation result, the gradient scaler and,
    in `model.pth.tar-<epochs>-batch-<batches>`, which a stopped run writes, the place inside the epoch with the running
    averages of the log and, among them, each listener's `epoch_state` under its `state_name`.
    """

    _pending_rng: dict[str, Any] | None = None
    # Where inside its epoch a stopped run is saved or resumed: {"batches", "start_rng", "meters"}
    _step: dict[str, Any] | None = None

    def checkpoint_extras(self) -> dict[str, Any]:
        """Hook: return further entries of every checkpoint file, plain values or tensors by name."""
        return {}

    def save_model(
        self,
        epoch: int,
        directory: str,
        is_best: bool = False,
        val_result: float | None = None,
        model_name: str = "",
    ) -> None:
        """Save every registered model.

        Args:
            epoch: the 0-based epoch that was finished; the files are named epoch + 1.
            directory: output directory of the run.
            is_best: also write model-best.pth.tar.
            val_result: accuracy on val, to be saved along.
            model_name: file name that stands for model.pth.tar-<epoch + 1>.

        Raises:
            OSError: a file cannot be written; the checkpoints before stay in use.
        """
        self.tell("checkpoint_begins")
        resume, extras = self._resume_state(), self.checkpoint_extras()
        written = []
        for name in self.get_model_names():
            optim, sched = self._optims[name], self._scheds[name]
            state = extras | {
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
            _drop_inside_epoch(osp.dirname(path), keep=osp.basename(path))

    def save_inside_epoch(self, batches: int, start_rng: dict[str, Any], meters: MetricMeter) -> None:
        """Save after `batches` steps of the present epoch, so that a resumed run continues with the next one.

        The data order is not in the file but follows from `start_rng`, the generators' state at the epoch's start:
        a resumed run loads the same batches again, without training on them, and then takes its generators over.
        """
        sums = {one.state_name: one.epoch_state(self) for one in self._summing_listeners()}
        self._step = {"batches": batches, "start_rng": start_rng, "meters": meters.state() | sums}
        try:
            name = f"model.pth.tar-{self.epoch}-batch-{batches}"
            self.save_model(self.epoch - 1, self.output_dir, model_name=name)
        finally:
            self._step = None

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load every registered model's weights, strictly.

        Args:
            directory: output directory of the training.
            epoch: loads model.pth.tar-<epoch>; by default the best model on val.

        Raises:
            FileNotFoundError: there is no such checkpoint; names those that there are.
            CheckpointError: it is damaged or of another model.
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

    def has_checkpoints(self, directory: str) -> bool:
        """Whether every registered model has a newest checkpoint in `directory`."""
        names = self.get_model_names()
        return bool(names) and all(osp.isfile(osp.join(directory, name, POINTER)) for name in names)

    def resume_model_if_exist(self, directory: str) -> int:
        """Restore the newest checkpoint of every registered model, if all have one.

        Returns:
            The 0-based epoch to continue with.

        Raises:
            CheckpointError: one of them cannot be used.
        """
        names = self.get_model_names()
        folders = [osp.join(directory, name) for name in names]
        if not self.has_checkpoints(directory):
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
        state, self._pending_rng = self._pending_rng, None
        if state is not None:
            _set_rng(state)

    def restore_start_of_epoch(self) -> dict[str, Any] | None:
        """If the run resumes inside an epoch, rewind the generators and return what `resume_inside_epoch` needs."""
        step, self._step = self._step, None
        if step is not None:
            step = {**step, "rng": get_rng_state()}
            _set_rng(step["start_rng"])
        return step

    def resume_inside_epoch(self, step: dict[str, Any], meters: MetricMeter) -> None:
        """Take up generators, meters and listeners where the stopped run left them, its batches loaded again.

        Sums of a listener that is not there this time are left out. Raises CheckpointError.
        """
        try:
            averages = dict(step["meters"])
            for one in self._summing_listeners():
                if one.state_name in averages:
                    one.load_epoch_state(self, averages.pop(one.state_name))
            meters.load_state({name: state for name, state in averages.items() if not isinstance(state, dict)})
        except DAMAGE as err:
            raise CheckpointError(f"The checkpoint's running averages are damaged ({err!r}).") from err
        set_rng_state(step["rng"])

    def _summing_listeners(self) -> list[Any]:
        return [one for one in self.listeners if hasattr(one, "state_name")]

    def _resume_state(self) -> dict[str, Any]:
        scaler = getattr(self, "scaler", None)
        return {
            "rng": get_rng_state(),
            "best_result": float(getattr(self, "best_result", float("-inf"))),
            "scaler": scaler.state_dict() if hasattr(scaler, "state_dict") else None,
            "step": self._step,
        }

    def _take_resume_state(self, state: dict[str, Any] | None, path: str) -> None:
        """Take over what save_model put under `resume`; upstream's checkpoints have none."""
        if state is None:
            print(f'"{path}" holds no random number state: the data order from here on is a new one.')
            best = osp.join(osp.dirname(path), BEST)
            result = load_checkpoint(best).get("val_result") if osp.isfile(best) else None
            if result is not None:  # later epochs are measured by it
                try:
                    self.best_result = float(result)
                except DAMAGE as err:
                    raise CheckpointError(f'The entry "val_result" of "{best}" is no number ({err!r:.200}).') from err
            return
        try:
            state = dict(state)
            self._pending_rng = dict(state["rng"])
            self.best_result = float(state["best_result"])
            if state["scaler"] is not None and getattr(self, "scaler", None) is not None:
                self.scaler.load_state_dict(state["scaler"])
            step = state.get("step")
            if step is not None:
                step = dict(step)
                step = {"batches": int(step["batches"]), "start_rng": dict(step["start_rng"]), "meters": step["meters"]}
                print(f"Resuming after batch {step['batches']} of the interrupted epoch")
            self._step = step
        except DAMAGE as err:
            raise CheckpointError(f'The entry "resume" of "{path}" is incomplete ({err!r}).') from err


def _set_rng(state: dict[str, Any]) -> None:
    """set_rng_state for a state out of a file. Raises CheckpointError if it is none."""
    try:
        set_rng_state(state)
    except DAMAGE as err:
        raise CheckpointError(f"The checkpoint's random number state is damaged ({err!r}).") from err


def _drop_inside_epoch(folder: str, keep: str) -> None:
    """Remove the checkpoints of stopped epochs but `keep`: a newer one has taken their place."""
    for name in os.listdir(folder):
        if name != keep and re.fullmatch(r"model\.pth\.tar-\d+-batch-\d+", name):
            os.remove(osp.join(folder, name))


def _common_newest(folders: list[str]) -> str:
    """Return the newest file that every folder holds; they disagree if a run was killed between two of its models."""
    named = {newest_name(folder) for folder in folders}
    everywhere = [name for name in named if all(osp.isfile(osp.join(folder, name)) for folder in folders)]
    # With nothing in common, the reader of the first one raises the error.
    return max(everywhere or named, key=_epoch_of)


def _epoch_of(name: str) -> tuple[int, int]:
    """Epochs and further batches that a checkpoint of this name has behind it; (-1, 0) for the best model's."""
    match = re.search(r"tar-(\d+)(?:-batch-(\d+))?$", name)
    return (int(match[1]), int(match[2] or 0)) if match else (-1, 0)


def _what_there_is(directory: str, name: str) -> str:
    """Say which checkpoints of `name` there are below `directory`, or which folder is missing."""
    folder = osp.join(directory, name)
    if not osp.isdir(directory):
        return f'the folder "{directory}" does not exist.'
    if not osp.isdir(folder):
        return f'"{directory}" holds no folder "{name}", so it belongs to another trainer or a run that saved nothing.'
    files = sorted((f for f in os.listdir(folder) if f.startswith("model")), key=_epoch_of)
    return f"that folder holds {', '.join(files) or 'no checkpoint'}."
