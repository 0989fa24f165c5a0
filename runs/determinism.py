"""Same seed, same machine, same numbers: switch on what torch has for it, and say where that is not enough."""

import os
import re
import warnings
from typing import Any

import torch

UNAVAILABLE = re.compile(r"(\S+) does not have a deterministic implementation")


class Determinism:
    """Asks torch for deterministic algorithms and notes the operations that have none.

    `seed` below 0 asks for nothing: such a run is not to be repeated. On the CPU, results also depend on the number of
    threads, which is therefore in the record.
    """

    def __init__(self, seed: int, cuda: bool):
        self.seed, self.cuda = seed, cuda
        self.without: set[str] = set()

    def __enter__(self) -> "Determinism":
        self._show = warnings.showwarning
        self._before = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        if self.seed >= 0:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
            torch.backends.cudnn.benchmark = False
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # guards against reading it; costs time
            warnings.showwarning = self._watch
        elif self.cuda:
            torch.backends.cudnn.benchmark = True
        return self

    def __exit__(self, *exc: Any) -> None:
        warnings.showwarning = self._show
        torch.use_deterministic_algorithms(self._before[0], warn_only=self._before[1])

    def _watch(self, message: Warning | str, *args: Any, **kwargs: Any) -> None:
        found = UNAVAILABLE.search(str(message))
        if found:
            self.without.add(found[1])
        else:
            self._show(message, *args, **kwargs)

    def record(self) -> dict[str, Any]:
        """`deterministic`, why not where it is False, device and CPU threads, for metrics.json."""
        reasons = ["no seed was set (SEED -1)"] if self.seed < 0 else []
        reasons += [f"torch has no deterministic {name} on this device" for name in sorted(self.without)]
        found: dict[str, Any] = {"deterministic": not reasons}
        if reasons:
            found["not_deterministic_because"] = reasons
        device = torch.cuda.get_device_name() if self.cuda else "cpu"
        return found | {"device": device, "threads": torch.get_num_threads()}
