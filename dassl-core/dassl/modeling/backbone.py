"""Backbones: modules from images (B, 3, H, W) to features (B, out_features)."""

from typing import Any

import torchvision
from torch import nn

from dassl.utils import Registry, check_availability

BACKBONE_REGISTRY = Registry("BACKBONE")


def build_backbone(name: str, verbose: bool = True, **kwargs: Any) -> nn.Module:
    """Return the backbone of that name. Raises KeyError with the nearest name if there is none."""
    check_availability(name, BACKBONE_REGISTRY.registered_names(), "backbone")
    if verbose:
        print(f"Backbone: {name}")
    return BACKBONE_REGISTRY.get(name)(**kwargs)


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
