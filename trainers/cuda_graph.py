"""A training step captured as a CUDA graph and replayed: at batch 4 a step waits for its thousands of launches, not
for the arithmetic, and a replay is one launch of the very same kernels."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

WARM_UPS = 3  # steps before the capture, in which libraries set up what they need
TOLERANCE = 0.01  # of the first replay against the step itself; sums by atomics differ a little, a broken graph much
FLOOR = 1e-3  # of a number, below which two of them need not agree

Step = Callable[..., Any]


class CaptureFailed(RuntimeError):
    """A capture broke off. The process is not to be trusted with the device any more: streams may be left capturing,
    and torch's allocator may believe that a capture is under way."""


class Recorder(Protocol):
    """What captures work on a device."""

    def warm_up(self, work: Callable[[], Any], strict: bool) -> Any:
        """Do the work as it will be captured; RuntimeError if it is `strict` and the work waits for the device."""

    def record(self, work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        """Capture the work; returns the result whose tensors it will fill, and what does it again."""


class CudaRecorder:
    """Captures on a stream of its own, where the warm-up also runs: backward passes go on where forward passes ran."""

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()

    def warm_up(self, work: Callable[[], Any], strict: bool) -> Any:
        """Do the work on the stream, after and before all other work."""
        self.stream.wait_stream(torch.cuda.current_stream())
        before = torch.cuda.get_sync_debug_mode()
        try:
            with torch.cuda.stream(self.stream):
                torch.cuda.set_sync_debug_mode("error" if strict else before)
                result = work()
        finally:
            torch.cuda.set_sync_debug_mode(before)
        torch.cuda.current_stream().wait_stream(self.stream)
        return result

    def record(self, work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        """The captured result, and `replay`. Threads that load data may use CUDA meanwhile."""
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                result = work()
        finally:
            torch.cuda.set_stream(current)  # torch leaves the other one in place where the capture's end fails
        return result, graph.replay


def recorder_for(device: torch.device) -> Recorder | None:
    """The device's, None where it has no graphs."""
    return CudaRecorder() if device.type == "cuda" else None


class GraphedStep:
    """Stands in for `step(*inputs)`, which sets the gradients of `learner` and may change its buffers in place.

    The first call captures the step for inputs of its shape, and holds the first replay against the step itself:
    result, gradients and buffers. If the step waits for the device, or they differ, that is said in a line and steps
    stay what they were. Smaller inputs (an epoch's last batch) take the step itself, larger ones are captured in their
    turn.

    Args:
        step: computes on the device alone; its inputs are tensors, its result is a (named) tuple of tensors, of further
            such tuples, and of None.
        learner: what it changes. Gradients after a call are valid until the next.
        recorder: the device's.
        device: where inputs are copied to.
    """

    def __init__(self, step: Step, learner: nn.Module, recorder: Recorder, device: torch.device | str = "cpu") -> None:
        self.step, self.learner, self.recorder, self.device = step, learner, recorder, device
        self.inputs: list[Tensor] | None = None
        self.replay: Callable[[], None] | None = None

    def __call__(self, *inputs: Tensor) -> Any:
        """What `step(*inputs)` returns; its tensors are filled anew by the next call with inputs of that shape.

        Raises:
            CaptureFailed: see there; the learner is of no use any more either.
        """
        if self.inputs is None or inputs[0].numel() > self.inputs[0].numel():
            self.inputs, self.replay = [tensor.to(self.device, copy=True) for tensor in inputs], None
            reason = self._capture()
            if reason:
                print(f"No CUDA graph of the training step: {reason}. Kernels are launched one by one.")
        if self.replay is None or [one.shape for one in inputs] != [one.shape for one in self.inputs]:
            return self.step(*(tensor.to(self.device, non_blocking=True) for tensor in inputs))
        for fixed, tensor in zip(self.inputs, inputs, strict=True):
            fixed.copy_(tensor, non_blocking=True)
        self.replay()
        for parameter, gradient in zip(self.learner.parameters(), self.gradients, strict=True):
            parameter.grad = gradient  # a step of another shape may have put its own there
        return self.result

    def _capture(self) -> str:
        """Set `replay`; returns why that was not done. The learner's buffers are as before."""
        before = [buffer.clone() for buffer in self.learner.buffers()]

        inputs = self.inputs or []

        def work() -> Any:
            return self.step(*inputs)

        for number in range(WARM_UPS):
            self._restore(before)
            strict = number == WARM_UPS - 1
            try:
                result = self.recorder.warm_up(work, strict)
            except RuntimeError as error:
                self._restore(before)
                if not strict or isinstance(error, torch.OutOfMemoryError):
                    raise
                return f"it waits for the device ({str(error).splitlines()[0]})"
        expected = {name: _copy(tensor) for name, tensor in self._outcome(result).items()}
        self._restore(before)
        try:
            self.result, replay = self.recorder.record(work)
        except RuntimeError as error:
            raise CaptureFailed(str(error).splitlines()[0]) from error
        self._restore(before)
        self.gradients = [parameter.grad for parameter in self.learner.parameters()]
        replay()
        outcome = self._outcome(self.result)
        different = [name for name, tensor in expected.items() if not alike(outcome[name], tensor)]
        self._restore(before)
        if different:
            return f"its first replay differs from the step itself in {', '.join(different[:3])}"
        self.replay = replay
        return ""

    def _restore(self, before: list[Tensor]) -> None:
        for buffer, value in zip(self.learner.buffers(), before, strict=True):
            buffer.copy_(value)

    def _outcome(self, result: Any) -> dict[str, Any]:
        """All that a step leaves behind."""
        gradients = {f"the gradient of {name}": one.grad for name, one in self.learner.named_parameters()}
        return _tensors("its", result) | gradients | dict(self.learner.named_buffers())


def _tensors(name: str, result: Any) -> dict[str, Tensor]:
    """The tensors in a result, under the names of the tuples' fields; numbers that stand in a row one by one."""
    if result is None or isinstance(result, Tensor):
        if result is not None and result.dim() == 1 and len(result) < 100:
            return {f"{name} ({place})": value for place, value in enumerate(result)}
        return {} if result is None else {name: result}
    fields = getattr(result, "_fields", range(len(result)))
    named = {f"{name} {field}": value for field, value in zip(fields, result, strict=True)}
    return {inner: tensor for outer, value in named.items() for inner, tensor in _tensors(outer, value).items()}


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().clone()


def alike(ours: Tensor | None, expected: Tensor | None) -> bool:
    """Whether two tensors agree: a number to `TOLERANCE` of itself, more of them by the norm of their difference.

    Where an entry of either is not finite (half precision may overflow by an order of summation) it is left out; where
    none is left, they agree only if both have the same infinite ones.
    """
    if ours is None or expected is None:
        return ours is expected
    ours, expected = ours.double(), expected.double()
    finite = ours.isfinite() & expected.isfinite()
    if not finite.any():
        return ours.numel() == 0 or torch.equal(ours.isnan(), expected.isnan())
    ours, expected = torch.where(finite, ours, 0), torch.where(finite, expected, 0)
    floor = FLOOR if ours.numel() == 1 else 0.0
    return bool((ours - expected).norm() <= TOLERANCE * expected.norm() + floor * TOLERANCE)
