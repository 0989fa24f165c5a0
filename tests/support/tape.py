"""A CUDA graph's stand-in on the CPU: takes down every operation of a piece of work, and does them again on the same
memory, without Python's say. Asking a tensor for its value is an error, as it is to a stream that captures."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ASKS_FOR_VALUES = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.equal.default,
    torch.ops.aten.is_nonzero.default,
}


class Tape(TorchDispatchMode):
    """Records while it is active."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in ASKS_FOR_VALUES:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.steps.append((func, args, kwargs, [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]))
        return out

    @torch.no_grad()
    def replay(self):
        """The same operations on the same tensors; results go where they were."""
        for func, args, kwargs, kept in self.steps:
            again = [leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, torch.Tensor)]
            for old, new in zip(kept, again, strict=True):
                if old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():  # else a view, or in place
                    old.copy_(new)


class TapeRecorder:
    """A `Recorder` for the CPU."""

    def __init__(self):
        self.replays = 0

    def warm_up(self, work, strict):
        return work()

    def record(self, work):
        tape = Tape()
        with tape:
            result = work()

        def replay():
            self.replays += 1
            tape.replay()

        return result, replay


class OnDevice(TorchDispatchMode):
    """Refuses operations on tensors of other devices than `kind`: a captured step may copy nothing from the host."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.count = kind, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        leaves = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)]
        strangers = {leaf.device.type for leaf in leaves} - {self.kind}
        if strangers:
            raise RuntimeError(f"{func} touches {', '.join(strangers)}")
        self.count += 1
        return out
