"""`features.npz`: what an evaluation compared, for t-SNE and other uses of features (TEST.SAVE_FEATURES)."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class Features:
    """Normalised features of one evaluation. Text features that depend on the image are averaged over the images."""

    def __init__(self) -> None:
        self.images: list[Tensor] = []
        self.text: Tensor | None = None  # (K, D): the features, or their sum over images
        self.summed = 0

    def add(self, image: Tensor, text: Tensor) -> None:
        """Take in a batch's image features (B, D), and text features (K, D) or (B, K, D)."""
        self.images.append(F.normalize(image.float(), dim=-1).half().cpu())
        if text.dim() == 2:
            self.text = text
            return
        total = F.normalize(text.float(), dim=-1).sum(0)
        self.text = total if self.text is None else self.text + total
        self.summed += len(text)

    def write(self, path: Path, labels: list[int], classnames: list[str]) -> None:
        """Write image_features (N, D), labels (N,), text_features (K, D), classnames (K,); no pickles, in one step.

        Raises ValueError if there are none: the method's `model_inference` goes round its `test_features`.
        """
        if self.text is None:
            raise ValueError("The method's model_inference does not call test_features: set TEST.SAVE_FEATURES False.")
        text = F.normalize(self.text.float(), dim=-1).half().cpu()
        temporary = path.with_name(f".{path.name}.part")
        with temporary.open("wb") as file:
            np.savez(
                file,
                image_features=torch.cat(self.images).numpy(),
                labels=np.asarray(labels, dtype=np.int64),
                text_features=text.numpy(),
                classnames=np.asarray(classnames, dtype=np.str_),
            )
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
