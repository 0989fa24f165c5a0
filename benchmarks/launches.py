"""What a training step asks a GPU to do, counted without one: python -m benchmarks.launches --help.

Operations that compute or move something, each at least one kernel launch, are counted on tensors without values, in
half precision; a fused attention counts as one forward and one backward. A step of batch 4 waits for its launches.
"""

from collections import Counter
from copy import deepcopy

import torch
from clip.model import CLIP
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.options import parser, table
from benchmarks.setting import batch, build, class_names, random_clip, title
from promptclip.model import Precision, PromptedCLIP
from trainers.trainer import PromptTrainer

FREE = ("empty", "detach", "alias", "_unsafe_view", "lift", "sym_size")
"""Beginnings of the names of operations that launch nothing, beside those that only look at their input otherwise."""


class Counted(TorchDispatchMode):
    """Counts operations by name while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        looks = any(out.alias_info is not None and not out.alias_info.is_write for out in func._schema.returns)
        if not looks and not name.startswith(FREE):
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


class _Attention(torch.autograd.Function):
    """In place of a fused attention, which tensors without values have not."""

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, counts: Counter) -> Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.counts = counts
        counts["attention"] += 1
        return torch.empty_like(q)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        ctx.counts["attention, backward"] += 1
        return *(torch.empty_like(one) for one in ctx.saved_tensors), None


class FusedAttention(TorchFunctionMode):
    """Counts attention as one operation; a mask of bool is converted at each call, as torch does."""

    def __init__(self, counts: Counter) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        mask = kwargs.get("attn_mask")
        if mask is not None:
            torch.where(mask, 0.0, float("-inf"))
        return _Attention.apply(*args[:3], self.counts)


def count(trainer: PromptTrainer, names: list[str], in_rows: bool, size: int) -> Counter[str]:
    """Operations of one step of a trainer's, which is of no use afterwards."""
    clip, learner = PromptedCLIP(trainer.clip.model, in_rows=in_rows), trainer.learner
    trainer.classes = learner.classes(clip, names)
    Precision("fp16", torch.device("cuda")).weights(clip.model)
    data = batch(names, size, clip.model.visual.input_resolution)
    trainer.clip = clip
    clip.model.to("meta")
    learner.to("meta")
    trainer.classes = trainer.classes.to("meta")
    inputs = [data[key].to("meta") for key in ("img", "label")]
    with Counted() as counted, FusedAttention(counted.counts):
        trainer.gradients(*inputs)
    return counted.counts


def main(argv: list[str] | None = None, model: CLIP | None = None) -> list[dict]:
    """Print a row per method and list: with suffixes by length, as on a CPU, and with rows, as on a GPU."""
    options = parser(__doc__)
    options.set_defaults(classes=[19, 500], methods=["MaPLe", "RESTORE_m"])
    options.add_argument("--batch", type=int, default=4, help="images of a step")
    options.add_argument("--names", type=int, default=0, help="print so many of the most frequent operations as well")
    args = options.parse_args(argv)
    rows = []
    for number in args.classes:
        names = class_names(number)
        for method in args.methods:
            found = []
            for in_rows in (False, True):
                trainer = build(
                    method, "fast", names, deepcopy(model) if model else random_clip()
                )  # `count` uses it up
                found.append(count(trainer, names, in_rows, args.batch))
                if args.names:
                    print(method, number, "rows" if in_rows else "by length", found[-1].most_common(args.names))
            totals = [counts.total() for counts in found]
            attention = [counts["attention"] + counts["attention, backward"] for counts in found]
            rows.append(
                {"classes": title(number), "method": method, "operations, by length": totals[0]}
                | {"in rows": totals[1], "attention, by length": attention[0], "attention, in rows": attention[1]}
            )
    print(table(rows, args.markdown))
    return rows


if __name__ == "__main__":
    main()
