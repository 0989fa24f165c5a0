"""The small networks that SimpleTrainer builds by default."""

import pytest
import torch
from dassl.engine import SimpleNet
from dassl.modeling import BACKBONE_REGISTRY, HEAD_REGISTRY, build_backbone, build_head
from torch import nn


@BACKBONE_REGISTRY.register(force=True)
def engine_pool(pretrained=True, **kwargs):
    """The mean colour."""
    backbone = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    backbone.out_features = 3
    return backbone


def _cfg(cfg, backbone="engine_pool", **head):
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.PRETRAINED = backbone, False
    for key, value in head.items():
        cfg.MODEL.HEAD[key] = value
    return cfg


def test_backbone_and_classifier(cfg):
    net = SimpleNet(_cfg(cfg, "resnet18"), cfg.MODEL, num_classes=3).eval()
    scores, features = net(torch.zeros(2, 3, 32, 32), return_feature=True)
    assert (scores.shape, features.shape, net.fdim) == ((2, 3), (2, 512), 512)
    assert torch.equal(net(torch.zeros(2, 3, 32, 32)), scores)


def test_a_head_between_them_and_no_classifier(cfg):
    net = SimpleNet(_cfg(cfg, NAME="mlp", HIDDEN_LAYERS=(16, 8), DROPOUT=0.5), cfg.MODEL, num_classes=0)
    assert net.fdim == 8
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 8)


def test_the_head_s_layers():
    head = build_head("mlp", verbose=False, in_features=4, hidden_layers=(3, 2), activation="gelu", dropout=0.1)
    names = [type(layer).__name__ for layer in head]
    assert names == ["Linear", "BatchNorm1d", "GELU", "Dropout"] * 2
    assert head.out_features == 2
    assert [type(layer).__name__ for layer in build_head("mlp", in_features=4, hidden_layers=(3,), bn=False)] == [
        "Linear",
        "ReLU",
    ]


def test_unknown_names_get_the_nearest():
    with pytest.raises(KeyError, match='did you mean "resnet18"'):
        build_backbone("resnet-18")
    with pytest.raises(KeyError, match='did you mean "mlp"'):
        build_head("mlpp")
    assert "resnet50" in BACKBONE_REGISTRY
    assert "mlp" in HEAD_REGISTRY
