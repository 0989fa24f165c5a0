"""What all trainers share: registered models, the loop over epochs, TensorBoard, the optimisation step."""

from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from dassl.engine.saving import Saving
from dassl.utils import check_availability
from dassl.utils.logger import EventFile


class Stopped(KeyboardInterrupt):
    """Raised where a trainer whose `stop_requested` was set can stop with everything saved."""


class TrainerBase(Saving):
    """A loop over epochs with a hook before and after each part, over models registered by name.

    Whoever sets `stop_requested` (a signal handler) has the run saved after the step it is in and `Stopped` raised.

    `listeners` are objects that hear what happens: each event is a method of theirs, all of them optional, which gets
    the trainer first:

        epoch_begins()                        before run_epoch
        step_ends(batches, summary)           after forward_backward(*batches) has returned `summary`
        epoch_ends()                          after run_epoch, before after_epoch and the checkpoint it writes
        checkpoint_begins()                   before anything of a checkpoint is written; may raise to forbid it
        evaluation_begins(split, loader)
        batch_evaluated(batch, scores, labels)
        evaluation_ends(split, results)       `results` as the evaluator returns them

    One that sums something up over an epoch has besides `state_name`, `epoch_state(trainer)`, which returns its sums
    as a dict of plain values for a checkpoint inside the epoch, and `load_epoch_state(trainer, state)`, which takes
    them up again after `epoch_begins`.
    """

    stop_requested = False
    _in_epochs = False

    def __init__(self):
        self._models: OrderedDict[str, nn.Module] = OrderedDict()
        self._optims: OrderedDict[str, Any] = OrderedDict()
        self._scheds: OrderedDict[str, Any] = OrderedDict()
        self._writer = None
        self.listeners: list[Any] = []

    def tell(self, event: str, *args: Any) -> None:
        """Call the method named `event` of every listener that has one, with this trainer and `args`."""
        for listener in self.listeners:
            method = getattr(listener, event, None)
            if method is not None:
                method(self, *args)

    # Models

    def register_model(self, name: str = "model", model: Any = None, optim: Any = None, sched: Any = None) -> None:
        """Register a model to be saved and loaded under `name`, with its optimiser and schedule if it is trained."""
        if "_models" not in self.__dict__:
            raise AttributeError("Call super().__init__() before register_model().")
        if name in self._models:
            raise ValueError(f'A model is already registered as "{name}"; choose another name.')
        self._models[name] = model
        self._optims[name] = optim
        self._scheds[name] = sched

    def get_model_names(self, names: str | list[str] | None = None) -> list[str]:
        """Return `names` as a list, checked, or the names of all registered models. Raises UnknownName (a KeyError)."""
        if names is None:
            return list(self._models)
        names = [names] if isinstance(names, str) else list(names)
        for name in names:
            check_availability(name, self._models, "model")
        return names

    def set_model_mode(self, mode: str = "train", names: str | list[str] | None = None) -> None:
        """Put the models into mode "train", or "eval" (also called "test"). Raises UnknownName for another mode."""
        check_availability(mode, ("train", "eval", "test"), "model mode")
        for name in self.get_model_names(names):
            self._models[name].train(mode == "train")

    # Learning rate

    def update_lr(self, names: str | list[str] | None = None) -> None:
        """Step the schedules; called once per epoch, in its last batch."""
        for name in self.get_model_names(names):
            if self._scheds[name] is not None:
                self._scheds[name].step()

    def get_current_lr(self, names: str | list[str] | None = None) -> float:
        """Return the learning rate of the first parameter group of the first of `names`."""
        return self._optims[self.get_model_names(names)[0]].param_groups[0]["lr"]

    # Optimisation step

    def model_backward_and_update(self, loss: torch.Tensor, names: str | list[str] | None = None) -> None:
        """Do one optimisation step. Raises FloatingPointError before the backward pass if the loss is not finite."""
        self.model_zero_grad(names)
        self.model_backward(loss)
        self.model_update(names)

    def model_zero_grad(self, names: str | list[str] | None = None) -> None:
        """Clear the gradients."""
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].zero_grad()

    def model_backward(self, loss: torch.Tensor) -> None:
        """Check the loss and differentiate it."""
        self.detect_anomaly(loss)
        loss.backward()

    def model_update(self, names: str | list[str] | None = None) -> None:
        """Step the optimisers."""
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].step()

    def prograd_backward_and_update(
        self, loss_a: torch.Tensor, loss_b: torch.Tensor, lambda_: float = 1.0, names: str | list[str] | None = None
    ) -> None:
        """Do one step down `loss_a` that leaves out what would go up `loss_b`, parameter by parameter (ProGrad).

        Where the two gradients point against each other, `lambda_` times the part along `loss_b`'s is taken off.
        """
        names = self.get_model_names(names)
        params = [p for name in names for p in self._models[name].parameters() if p.requires_grad]
        self.detect_anomaly(loss_b)
        general = torch.autograd.grad(loss_b, params, retain_graph=True, allow_unused=True)
        self.model_zero_grad(names)
        self.model_backward(loss_a)
        for param, grad in zip(params, general, strict=True):
            if grad is None or param.grad is None:
                continue
            direction = nn.functional.normalize(grad.flatten(), dim=0)
            along = param.grad.flatten() @ direction
            if along < 0:
                param.grad -= lambda_ * along * direction.view_as(param)
        self.model_update(names)

    def detect_anomaly(self, loss: torch.Tensor) -> None:
        """Raise FloatingPointError if the loss is not finite."""
        if not torch.isfinite(loss).all():
            raise FloatingPointError("Loss is infinite or NaN!")

    # Loop

    def train(self, start_epoch: int, max_epoch: int) -> None:
        """Go through the epochs; before_train may raise `self.start_epoch` by resuming."""
        self.start_epoch = start_epoch
        self.max_epoch = max_epoch
        try:
            self.before_train()
            # Last, so that nothing of the start-up of a resumed run shifts its random numbers.
            self.restore_rng()
            self._in_epochs = True
            for epoch in range(self.start_epoch, self.max_epoch):
                self.epoch = epoch
                self.before_epoch()
                self.tell("epoch_begins")
                self.run_epoch()
                self.tell("epoch_ends")
                self.after_epoch()
                if self.stop_requested and epoch + 1 < self.max_epoch:
                    self.save_model(epoch, self.output_dir)
                    raise Stopped
            self._in_epochs = False
            self.after_train()
        finally:
            self._in_epochs = False
            self.close_writer()

    def before_train(self) -> None:
        """Hook before the first epoch."""

    def after_train(self) -> None:
        """Hook after the last epoch."""

    def before_epoch(self) -> None:
        """Hook before every epoch."""

    def after_epoch(self) -> None:
        """Hook after every epoch."""

    def run_epoch(self) -> None:
        """Train for one epoch."""
        raise NotImplementedError

    def test(self) -> float:
        """Evaluate."""
        raise NotImplementedError

    def parse_batch_train(self, batch: dict) -> Any:
        """Take from a training batch what forward_backward needs."""
        raise NotImplementedError

    def parse_batch_test(self, batch: dict) -> Any:
        """Take input and label from a test batch."""
        raise NotImplementedError

    def forward_backward(self, batch: dict) -> dict[str, float]:
        """Do one training step and return the numbers to log."""
        raise NotImplementedError

    def model_inference(self, input: torch.Tensor) -> torch.Tensor:
        """Return the scores (B, K) of a test batch."""
        raise NotImplementedError

    # TensorBoard

    def init_writer(self, log_dir: str) -> None:
        """Open TensorBoard's event file, once."""
        if self._writer is None:
            print(f"Initialize tensorboard (log_dir={log_dir})")
            self._writer = EventFile(log_dir)

    def close_writer(self) -> None:
        """Close TensorBoard's event file, if one is open."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def write_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None) -> None:
        """Write a number to TensorBoard, if it is open."""
        if self._writer is not None:
            self._writer.add_scalar(tag, scalar_value, global_step)
