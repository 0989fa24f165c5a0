"""Feature shift: what the prompts change in a block's output at the tokens that are not prompts.

RESTORE (arXiv 2403.06136), Eq. 6: for each block l, Omega_l = G_{l+1} - Phi_l(G_l), with and without prompts from
the same input. The towers hand back one Frobenius norm per block and sample; how these become one number per block
and modality (Eq. 7-8 leave it open) is decided here.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from clip.model import CLIP
from torch import Tensor, nn
from torch.nn import functional as F

from promptclip.prompts import blocks

if TYPE_CHECKING:
    from promptclip.learner import Output

NORMS = ("fro", "rms", "relative")


class FeatureShift(NamedTuple):
    """Per-block norms of the shift.

    Attributes:
        norm: (L, N) Frobenius norm of Omega_l of each of N samples (images, or classes).
        entries: (N,) number of entries of Omega (tokens x width) of each sample.
    """

    norm: Tensor
    entries: Tensor

    def detach(self) -> "FeatureShift":
        """The same numbers without the pass that made them."""
        return FeatureShift(self.norm.detach(), self.entries)

    def rms(self) -> Tensor:
        """(L, N) root mean square of Omega's entries."""
        return self.norm / self.entries.to(self.norm.dtype).sqrt()


class Encoded(NamedTuple):
    """What a tower gives.

    Attributes:
        features: (B, D) of images, (K, D) of classes, or (G, K, D) of classes with G contexts.
        shift: feature shift, None unless asked for.
        tokens: (B, n, W) what the vision tower made of tokens put into it, after `ln_post`; None without such.
    """

    features: Tensor
    shift: FeatureShift | None = None
    tokens: Tensor | None = None


def at_least_single(x: Tensor) -> Tensor:
    """`x` in single precision, or in double where it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def square_sum(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Sum of squares over `dim`, in float32 where `x` is in half precision and would overflow."""
    return (x.float() if x.dtype in (torch.float16, torch.bfloat16) else x).square().sum(dim)


class SquareDistance(torch.autograd.Function):
    """Squared distance of each token of y (B, M, W) to that of x (B, N, W), N >= M, (B, M).

    One difference is kept, and turned into either gradient with one pass over it; a trainer's step has one for every
    block of both towers.
    """

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor) -> Tensor:
        moved = x[:, : y.shape[1]] - y
        ctx.save_for_backward(moved)
        ctx.behind = x.shape[1] - y.shape[1]
        return square_sum(moved, -1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor | None]:
        (moved,) = ctx.saved_tensors
        grad_y = (moved * (-2 * grad)[..., None]).to(moved.dtype)
        grad_x = F.pad(-grad_y, (0, 0, 0, ctx.behind)) if ctx.behind else -grad_y
        return grad_x, grad_y if ctx.needs_input_grad[1] else None


def root(squares: Tensor) -> Tensor:
    """Square root whose gradient is zero, not infinite, where a block shifts nothing."""
    return squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt()


def consistency(image: Tensor, text: Tensor) -> Tensor:
    """L^fs, Eq. 9-10: sum over blocks of the squared difference of the two modalities' norms, each (L,).

    Towers of different depth are compared block by block from the first one on, as far as both go.
    """
    blocks = min(len(image), len(text))
    return (image[:blocks] - text[:blocks]).square().sum()


def shift_loss(output: "Output", labels: Tensor) -> Tensor:
    """L^fs of a training step, as a loss of `promptclip.learner`.

    Raises:
        ValueError: the learner has no `shift_scale`, so that no shift was measured.
    """
    if output.norms is None:
        raise ValueError("L^fs needs the feature shift: give the PromptLearner a shift_scale.")
    return consistency(*output.norms)


SUMMED_SHIFT = {
    "shift_image": lambda output: output.norms[0].detach().sum(),
    "shift_text": lambda output: output.norms[1].detach().sum(),
}
"""For the training line: the summed shift of either modality."""


class ShiftScale(nn.Module):
    """Brings the two modalities' shift to one scale (Norm of Eq. 7-8), one number per block.

    "fro": the mean over samples of the Frobenius norm, Eq. 8 as written. "rms": that over the square root of the
    number of entries, so that 197 x 768 and 10 x 512 compare. "relative": divided by its own value at the first
    training step, kept as a buffer so that a resumed run keeps its scale.

    Args:
        norm: one of NORMS.
        vision_blocks, text_blocks: depth of the towers.
        constant: the pass without prompts is a constant, through which no gradient flows: half of a backward pass less.

    Raises:
        ValueError: unknown norm.
    """

    training_only = ("image_first", "text_first")
    image_first: Tensor
    text_first: Tensor

    def __init__(self, norm: str, vision_blocks: int, text_blocks: int, constant: bool = False) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"SHIFT_NORM {norm!r} is none of {', '.join(NORMS)}.")
        self.norm, self.constant = norm, constant
        if norm == "relative":
            self.register_buffer("image_first", torch.zeros(vision_blocks))
            self.register_buffer("text_first", torch.zeros(text_blocks))

    @classmethod
    def of(cls, model: CLIP, norm: str, constant: bool = False) -> "ShiftScale":
        """For the towers of `model`."""
        text_blocks, vision_blocks = blocks(model)
        return cls(norm, vision_blocks, text_blocks, constant)

    def forward(self, image: FeatureShift, text: FeatureShift) -> tuple[Tensor, Tensor]:
        """(L_v,) and (L_t,) norms of a training step; gradient flows through them."""
        if self.norm == "rms":
            return image.rms().mean(1), text.rms().mean(1)
        of_image, of_text = image.norm.mean(1), text.norm.mean(1)
        if self.norm == "relative":
            of_image = of_image / self._first(of_image, self.image_first)
            of_text = of_text / self._first(of_text, self.text_first)
        return of_image, of_text

    @staticmethod
    def _first(value: Tensor, first: Tensor) -> Tensor:
        """The first step's value, taken down now if this is it; a block that shifted nothing then counts from 1."""
        now = torch.where(value > 1e-12, value, torch.ones_like(value)).detach().to(first.dtype)
        first.copy_(torch.where(first > 0, first, now))
        return first.clone()


class ShiftStatistics:
    """Mean and standard deviation over samples of each block's shift, on the scale that "rms" names.

    One formula for every method, whatever its own loss makes of the shift. Sums stay on the device and in float64, so
    that adding a training step's shift costs no wait, and resuming from `state` changes no digit.

    Args:
        blocks: depth of the tower.
    """

    def __init__(self, blocks: int) -> None:
        self.count = 0
        self.sums: Tensor | None = None  # (2, L): of the values, of their squares
        self.blocks = blocks

    @torch.no_grad()
    def add(self, shift: FeatureShift) -> None:
        """Take in N samples."""
        values = shift.rms().double()  # (L, N)
        sums = torch.stack([values.sum(1), values.square().sum(1)])
        self.sums = sums if self.sums is None else self.sums + sums
        self.count += values.shape[1]

    def summary(self) -> dict[str, list[float]]:
        """`{"mean": [L], "std": [L]}`; 0 if nothing was added: what has no prompts is not shifted (Eq. 6)."""
        if not self.count or self.sums is None:
            return {"mean": [0.0] * self.blocks, "std": [0.0] * self.blocks}
        mean, square = self.sums.cpu() / self.count
        return {"mean": mean.tolist(), "std": (square - mean.square()).clamp_min(0).sqrt().tolist()}

    def state(self) -> dict[str, Any]:
        """Plain numbers that `load` takes."""
        return {"count": self.count, "sums": None if self.sums is None else self.sums.tolist()}

    def load(self, state: dict[str, Any], device: torch.device) -> None:
        """Resume from what `state` returned."""
        sums = state["sums"]
        self.count = int(state["count"])
        self.sums = None if sums is None else torch.tensor(sums, dtype=torch.float64, device=device)


class TowerStatistics:
    """`ShiftStatistics` of both towers.

    Args:
        text_blocks, vision_blocks: depth of the towers.
    """

    def __init__(self, text_blocks: int, vision_blocks: int) -> None:
        self.text, self.vision = ShiftStatistics(text_blocks), ShiftStatistics(vision_blocks)

    def add(self, image: FeatureShift | None, text: FeatureShift | None) -> None:
        """Take in samples of either tower; None where it has no prompts."""
        for shift, statistics in ((image, self.vision), (text, self.text)):
            if shift is not None:
                statistics.add(shift)

    def summary(self) -> dict[str, dict[str, list[float]]]:
        """`{"text": {"mean": [L], "std": [L]}, "vision": ...}`."""
        return {"text": self.text.summary(), "vision": self.vision.summary()}

    def state(self) -> list[dict[str, Any]]:
        """Plain numbers that `load` takes."""
        return [self.text.state(), self.vision.state()]

    def load(self, state: list[dict[str, Any]], device: torch.device) -> None:
        """Resume from what `state` returned."""
        for statistics, saved in zip((self.text, self.vision), state, strict=True):
            statistics.load(saved, device)
