"""One training step on the device: forward pass, losses, backward pass."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor

from promptclip.learner import Classes, PromptLearner
from promptclip.model import PromptedCLIP
from promptclip.shift import FeatureShift
from trainers.loss_scale import LossScale


class StepResult(NamedTuple):
    """What a training step computes on the device.

    Attributes:
        numbers: (M + 2,) those that `names` names; the norm of all that is learned, before the step; that of its
            gradient where a loss scale may have it overflow.
        image_shift, text_shift: feature shift of either tower where the method measures it.
    """

    numbers: Tensor
    image_shift: FeatureShift | None
    text_shift: FeatureShift | None


def names(learner: PromptLearner) -> tuple[str, ...]:
    """Of the numbers that a step gives: `loss`, `acc`, each loss, whatever else is shown."""
    return ("loss", "acc", *learner.losses, *learner.shows)


def gradients(
    learner: PromptLearner,
    clip: PromptedCLIP,
    classes: Classes,
    autocast: Callable[[], AbstractContextManager],
    scaler: LossScale | None,
    batch: tuple[Tensor, ...],
) -> StepResult:
    """Set the gradients of what is learned, in place of those of the step before.

    Nothing here waits for the device or asks it for a value, so that a graph can repeat it (`cuda_graph.py`).

    Args:
        learner: in training mode.
        clip, classes: what it works on.
        autocast: context of the forward pass.
        scaler: of the loss, where half precision needs one.
        batch: images (B, 3, H, W), labels (B,), and a second view of the images where the method takes one.
    """
    images, labels, *second = batch
    parameters = list(learner.parameters())
    for parameter in parameters:
        parameter.grad = None
    size = torch.nn.utils.get_total_norm([parameter.detach() for parameter in parameters])
    with autocast():
        output = learner(clip, classes, images, None, *second)
        losses = {
            name: loss.function(output, labels) if loss.weight == 1 else loss.weight * loss.function(output, labels)
            for name, loss in learner.losses.items()
        }
    total = learner.gradients(losses, parameters, scaler.scale if scaler else _unscaled)
    accuracy = (output.logits.topk(1).indices.squeeze(1) == labels).float().mean() * 100
    shown = [function(output) for function in learner.shows.values()]
    given = [one.grad for one in parameters if one.grad is not None]
    steepness = scaler.unscale(given) if scaler else size
    found = [total, accuracy, *losses.values(), *shown, size, steepness]
    numbers = torch.stack([value.detach().reshape(()).float() for value in found])
    image_shift, text_shift = (shift and shift.detach() for shift in (output.image_shift, output.text_shift))
    return StepResult(numbers, image_shift, text_shift)


def _unscaled(loss: Tensor) -> Tensor:
    return loss
