"""Backbones: modules from images (B, 3, H, W) to features (B, out_features)."""

from typing import Any

import torchvision
from torch import nn

from dassl.utils import Registry

BACKBONE_REGISTRY = Registry("BACKBONE")


class Backbone(nn.Module):
    """A base for backbones of one's own, which set `_out_features` to the width of their features."""

    _out_features: int | None = None

    @property
    def out_features(self) -> int | None:
        """Width D of the features."""
        return self._out_features


def build_backbone(name: str, verbose: bool = True, **kwargs: Any) -> nn.Module:
    """Return the backbone of that name. Raises UnknownName (a KeyError) with the nearest name."""
    return BACKBONE_REGISTRY.build(name, verbose=verbose, **kwargs)


def _headless(name: str, pretrained: bool) -> nn.Module:
    """Return torchvision's ResNet of that name without its classifier; `pretrained` downloads ImageNet weights."""
    model = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None)
    model.out_features = model.fc.in_features
    model.fc = nn.Identity()
    return model


@BACKBONE_REGISTRY.register()
def resnet18(pretrained: bool = True, **kwargs: Any) -> nn.Module:
    """ResNet-18."""
    return _headless("resnet18", pretrained)


@BACKBONE_REGISTRY.register()
def resnet50(pretrained: bool = True, **kwargs: Any) -> nn.Module:
    """ResNet-50."""
    return _headless("resnet50", pretrained)


@BACKBONE_REGISTRY.register()
def resnet101(pretrained: bool = True, **kwargs: Any) -> nn.Module:
    """ResNet-101."""
    return _headless("resnet101", pretrained)
