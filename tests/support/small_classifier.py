"""A classifier of four narrow blocks a tower, with prompts and surgery that were drawn instead of trained."""

import torch

from promptclip import load_clip
from promptclip.backbone import weights_sha256
from promptclip.classifier import Classifier
from promptclip.conditioned import ConditionedContext
from promptclip.folder import Description
from promptclip.learner import CosineHead
from promptclip.model import PromptedCLIP
from promptclip.preprocessing import Preprocessing
from promptclip.surgery import FeatureSurgery
from promptclip.trained_prompts import TrainedPrompts

CLASSES = ("tabby_cat", "boeing 737", "Annual Crop Land")


def drawn(part, scale=0.3):
    """The part with values drawn for all that it learned."""
    draw = torch.Generator().manual_seed(0)
    for parameter in part.parameters():
        parameter.data = scale * torch.randn(parameter.shape, generator=draw)
    return part


def parts(kind="prompts"):
    """Parts by place: "prompts" and surgery, "conditioned" contexts, or class-"specific" ones."""
    head = {"head": CosineHead()}
    if kind == "conditioned":
        return {"prompts": drawn(ConditionedContext(2, 64, 64))} | head
    if kind == "specific":
        return {"prompts": drawn(TrainedPrompts(text=[[3, 2, 64]]))} | head
    if kind == "vision":
        return {"prompts": drawn(TrainedPrompts(vision=[[2, 128]], template="a photo of a {}."))} | head
    prompts = drawn(TrainedPrompts([[2, 64], None, [2, 64]], [[3, 128]], "a photo of a"))
    return {"prompts": prompts, "corrections": drawn(FeatureSurgery(64, (0.1, 0), (0.1, 0), 0.9, True))} | head


def make(backbone: str, kind="prompts", **others) -> Classifier:
    """A classifier on the weights in the file `backbone`."""
    model, made = load_clip(backbone), parts(kind)
    said = {"method": "RESTORE_m", "classes": CLASSES, "new_classes": made["prompts"].new_classes}
    said |= {"training": {"dataset": "Drawn", "shots": 4, "seed": 1, "epochs": 2, "accuracy": 81.25}} | others
    description = Description(backbone=backbone, sha256=weights_sha256(model), preprocessing=Preprocessing(32), **said)
    return Classifier(description, made, PromptedCLIP(model))
