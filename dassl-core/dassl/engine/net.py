"""A backbone with a linear classifier."""

from typing import Any

import torch
from torch import nn

from dassl.modeling import build_backbone, build_head


class SimpleNet(nn.Module):
    """The backbone that model_cfg names, a head if it names one, and a linear classifier if num_classes > 0."""

    def __init__(self, cfg: Any, model_cfg: Any, num_classes: int, **kwargs: Any):
        super().__init__()
        self.backbone = build_backbone(
            model_cfg.BACKBONE.NAME, verbose=cfg.VERBOSE, pretrained=model_cfg.BACKBONE.PRETRAINED, **kwargs
        )
        width = self.backbone.out_features
        self.head = None
        if model_cfg.HEAD.NAME and model_cfg.HEAD.HIDDEN_LAYERS:
            self.head = build_head(
                model_cfg.HEAD.NAME,
                verbose=cfg.VERBOSE,
                in_features=width,
                hidden_layers=model_cfg.HEAD.HIDDEN_LAYERS,
                activation=model_cfg.HEAD.ACTIVATION,
                bn=model_cfg.HEAD.BN,
                dropout=model_cfg.HEAD.DROPOUT,
                **kwargs,
            )
            width = self.head.out_features
        self.classifier = nn.Linear(width, num_classes) if num_classes > 0 else None
        self._fdim = width

    @property
    def fdim(self) -> int:
        """Width D of the features."""
        return self._fdim

    def forward(self, x: torch.Tensor, return_feature: bool = False) -> Any:
        """Return the scores (B, K) of images (B, 3, H, W), with `return_feature` also the features (B, D)."""
        feature = self.backbone(x)
        if self.head is not None:
            feature = self.head(feature)
        if self.classifier is None:
            return feature
        scores = self.classifier(feature)
        return (scores, feature) if return_feature else scores
