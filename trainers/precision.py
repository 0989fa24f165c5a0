"""The four precisions of a run (TRAINER.<METHOD>.PREC) and what each means for weights, forward pass and backward."""

import torch
from clip.model import CLIP, convert_weights

PRECISIONS = ("fp16", "fp32", "amp", "bf16")


class Precision:
    """fp16: frozen CLIP in half precision (the field's default); amp: float32 weights under float16 autocast with a
    gradient scaler; bf16: bfloat16 autocast; fp32. What is learned is always float32.

    Args:
        name: one of the above. fp16 and amp need CUDA; elsewhere the run is fp32 and says so.
        device: where the run computes.

    Attributes:
        autocast: the type that forward passes are computed in by autocast, None without it.
        scaler: scales the loss, None unless amp.

    Raises:
        ValueError: unknown name.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name not in PRECISIONS:
            raise ValueError(f"PREC {name!r} is none of {', '.join(PRECISIONS)}.")
        if name in ("fp16", "amp") and device.type != "cuda":
            print(f"PREC {name} needs CUDA, and this run has none: computing in fp32.")
            name = "fp32"
        self.name = name
        self.autocast = {"amp": torch.float16, "bf16": torch.bfloat16}.get(name)
        self.scaler = torch.amp.GradScaler("cuda") if name == "amp" else None

    def weights(self, model: CLIP) -> CLIP:
        """The frozen CLIP as this precision keeps it."""
        if self.name == "fp16":
            convert_weights(model)
        return model
